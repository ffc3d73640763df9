//! Listings: create, get, list.

use model::{
    Scope,
    directory::Vendor,
    record::Kind,
    resources::listing::{Listing, ListingCreate, rules},
    write::{NewWrite, Operation},
};

use crate::{
    App,
    error::Error,
    intake::{self, Draft, Route, writes},
    lists::reads,
    openapi::{Accepted, Answer, GenericAccepted, GenericListingCreate, PageAnswer},
};

reads!(
    Listing,
    Kind::Listing,
    "Listings",
    listing_get,
    "Get a listing",
    "/crm/v1/listings/{id}",
    listings_list,
    "List listings",
    "/crm/v1/listings",
    ListingsRead "listings:read"
);

writes! {
    /// Create Listing: Knock
    ///
    /// Makes a Craigslist listing of a community known to Knock. The same address again changes the listing.
    post "/crm/v1/listings/knock", listing_create_knock, "Listings", Operation::ListingCreate, Route::Of(Vendor::Knock), ListingsWrite "listings:write", ListingCreate => Accepted
}

writes! {
    /// Create Listing
    ///
    /// Finds the vendor from the integration and applies that vendor's rules.
    post "/crm/v1/listings", listing_create, "Listings", Operation::ListingCreate, Route::Generic, ListingsWrite "listings:write", GenericListingCreate => GenericAccepted
}

/// Checks and maps a listing.
pub(crate) async fn prepare_create(
    app: &App,
    scope: &Scope,
    draft: Draft,
) -> Result<NewWrite, Error> {
    let (vendor, screened) = intake::screened(app, scope, draft)?;
    let input: ListingCreate = screened.read()?;
    let broken = |field: &str| screened.is_broken(field);
    let checked = rules::check(input, vendor, &app.live.get(), scope, &broken);
    let listing = screened.settle(checked)?;
    let prepared = intake::connector(app, vendor)?.listing_create(&listing);
    let of = (listing.integration.id, listing.community.id);
    intake::new_write(app, Operation::ListingCreate, of, &listing.input, prepared)
}
