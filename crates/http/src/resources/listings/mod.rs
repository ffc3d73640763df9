//! Listings: create, get, list.

mod create;

use model::{
    Permission,
    directory::Vendor,
    permission::{Group, Level},
    record::Kind,
    resources::listing::{Listing, ListingCreate},
    write::Operation,
};
use utoipa::{ToSchema, openapi::HttpMethod};

use crate::{
    document::operation::{Component, Words},
    intake::{WriteOperation, echo, job},
    lists::{self, ReadOperation, Records},
    screening::Target,
};

/// Listings as they are read.
pub const RECORDS: Records = Records {
    kind: Kind::Listing,
    tag: "Listings",
    permission: Permission::of(Group::Listings, Level::Read),
    get: ReadOperation {
        id: "listing_get",
        path: "/crm/v1/listings/{id}",
        summary: "Get a listing",
    },
    list: ReadOperation {
        id: "listings_list",
        path: "/crm/v1/listings",
        summary: "List listings",
    },
    routes: lists::routes::<Listing>,
};

/// Creates a listing at the vendor of its integration.
pub const CREATE: WriteOperation = WriteOperation {
    id: "listing_create",
    operation: Operation::ListingCreate,
    method: HttpMethod::Post,
    path: "/crm/v1/listings",
    tag: "Listings",
    words: Words {
        summary: "Create Listing",
        description: "Finds the vendor from the integration and applies that vendor's rules.",
    },
    permission: Permission::of(Group::Listings, Level::Write),
    target: Target::Generic,
    body: Component::of::<GenericListingCreate>(),
    schema: "ListingCreate",
    prepare: |app, scope, draft| Box::pin(create::prepare(app, scope, draft)),
    answer: job(),
};

/// Creates a listing at Knock.
pub const CREATE_KNOCK: WriteOperation = WriteOperation {
    id: "listing_create_knock",
    path: "/crm/v1/listings/knock",
    words: Words {
        summary: "Create Listing: Knock",
        description: "Makes a Craigslist listing of a community known to Knock. The same address again changes the listing.",
    },
    target: Target::Of(Vendor::Knock),
    body: Component::of::<ListingCreate>(),
    answer: echo(),
    ..CREATE
};

/// A listing, whatever the vendor.
#[derive(ToSchema)]
#[schema(as = ListingCreate)]
pub struct GenericListingCreate {}
