//! A listing as Knock is told of it.

use model::{
    record::stated,
    resources::listing::{Checked, Listing},
    write::{Call, Confirmed},
};
use serde_json::Value;

use super::order::Order;
use crate::{
    Prepared,
    mapping::{Body, segment},
};

/// `POST /community/{id}/listing` for `listing`.
pub fn create(listing: &Checked) -> Prepared {
    let (new, community) = (&listing.new, &listing.community);
    let (title, url) = (new.title.trim(), new.url.trim());
    let mut body = Body::default();
    body.put("title", Some(title));
    body.put("url", Some(url));
    body.put("publishDate", Some(listing.publish_date.to_string()));
    body.put("isListed", Some(listing.is_listed));
    let record = stated(&Listing::created(listing));
    Prepared {
        call: Call {
            method: "POST".to_owned(),
            path: format!("/community/{}/listing", segment(&community.x_id)),
            x_community_id: community.x_id.clone(),
            body: body.finish(),
        },
        confirmed: Confirmed {
            update: Value::Object(record.clone()),
            create: Value::Object(record),
            // Knock is assumed to hold one listing an address, whatever id it gives or does not.
            identity: Some(("url".to_owned(), url.to_owned())),
            subject: None,
            replaces: Vec::new(),
            prospect: None,
        },
        order_keys: vec![Order::within(listing.integration.id, community.id).listing(url)],
        blocked_by: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use model::resources::listing::{NewListing, rules};
    use serde_json::json;

    use super::*;
    use crate::knock::mapping::world::World;

    #[test]
    fn a_listing_in_knocks_words() {
        let world = World::new();
        let new: NewListing = serde_json::from_value(json!({
            "integration_id": world.ids["integration_id"], "community_id": world.ids["community_id"], "title": " By the harbor ",
            "url": "https://seattle.craigslist.org/see/apa/1.html", "publish_date": "2027-03-01T09:30:00-05:00", "is_listed": false,
        }))
        .unwrap();
        let checked = rules::check(new, world.context());
        let prepared = create(&checked.unwrap_or_else(|issues| panic!("{issues:?}")));
        let shown = json!({ "path": prepared.call.path, "body": prepared.call.body, "record": prepared.confirmed.create });
        insta::assert_json_snapshot!("a_listing", shown);
    }
}
