//! Listings: create, get, list.

use connectors::component::Component;
use model::{
    Permission,
    permission::{Group, Level},
    record::Kind,
    resources::listing::Listing,
    write::Operation,
};
use utoipa::{ToSchema, openapi::HttpMethod};

use crate::{
    intake::WriteOperation,
    lists::{self, ReadOperation, Records},
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
    vendor_path: "/crm/v1/listings/{vendor}",
    tag: "Listings",
    summary: "Create Listing",
    description: "Finds the vendor from the integration and applies that vendor's rules.",
    permission: Permission::of(Group::Listings, Level::Write),
    body: Component::of::<GenericListingCreate>(),
    find_subject: None,
};

/// A listing, whatever the vendor.
#[derive(ToSchema)]
#[schema(as = ListingCreate)]
pub struct GenericListingCreate {}
