export default {
  input: process.env.PORTICO_DOCUMENT,
  output: {
    path: "generated",
    // Node runs the files as they are, and wants the extension.
    module: { extension: ".ts" },
  },
  logs: { file: false },
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
};
