export default {
  portico: {
    input: process.env.PORTICO_DOCUMENT,
    output: {
      target: "generated/client.ts",
      client: "fetch",
      // Where the server is, is known when the story runs.
      baseUrl: {
        runtime: "started.base_url",
        imports: [{ name: "started", importPath: "../support.ts" }],
      },
      // Node runs the files as they are, and an enumeration of TypeScript is no plain JavaScript.
      override: { enumGenerationType: "union" },
    },
  },
};
