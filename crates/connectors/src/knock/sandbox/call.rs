//! What a vendor call asks for, as far as the request alone and the seed tell.
//!
//! Guarantee: reading a call changes nothing; what is wrong with it is kept for the answer.

use http::Method;
use serde_json::{Map, Value};

use super::activities::{ActivityDraft, ActivityKind};
use super::appointments::TourRequest;
use super::directory::{CommunityIndex, Directory};
use super::draft::Draft;
use super::fields::Refusal;
use super::ids::Id;
use super::listings::ListingDraft;

/// The most parts of a path that are told apart: one more than any known path has.
const MOST_PARTS: usize = 4;

type Checked<T> = Result<T, Refusal>;

pub(super) enum Call {
    PostProspect(Checked<Box<Draft>>),
    GetProspect(Option<Id>),
    PostActivity(Option<Id>, Checked<ActivityDraft>),
    GetSources(Option<CommunityIndex>),
    GetTimes(Option<CommunityIndex>),
    PostListing {
        community: Option<CommunityIndex>,
        community_id: Box<str>,
        listing: Checked<Box<ListingDraft>>,
    },
    RequestTour(Checked<Box<TourRequest>>),
    CancelTour(Option<Id>),
    TooLarge,
    Unknown,
}

/// What a call is about, known or not.
pub(super) enum About {
    Community(Box<str>),
    Prospect(Id),
    Appointment(Id),
    Nothing,
}

impl Call {
    pub(super) fn read(
        method: &Method,
        path: &str,
        body: Option<&[u8]>,
        directory: &Directory,
    ) -> (Self, About) {
        let Some(body) = body else {
            return (Self::TooLarge, About::Nothing);
        };
        let parts = path.strip_prefix('/').unwrap_or(path);
        let parts: Vec<&str> = parts.splitn(MOST_PARTS, '/').collect();
        // No call of this method has a body.
        let members = if method == Method::GET {
            Ok(Map::new())
        } else {
            match serde_json::from_slice(body) {
                Ok(Value::Object(members)) => Ok(members),
                _ => Err(Refusal("the body must be a JSON object".to_owned())),
            }
        };
        let about = About::read(&parts, members.as_ref().ok());
        let call = match (method.as_str(), parts.as_slice()) {
            ("POST", ["prospect"]) => Self::PostProspect(read(members, |members| {
                Draft::read(members, directory).map(Box::new)
            })),
            ("GET", ["prospect", id]) => Self::GetProspect(Id::parse(id)),
            ("POST", ["prospect", id, kind]) => match ActivityKind::parse(kind) {
                Some(kind) => Self::PostActivity(
                    Id::parse(id),
                    read(members, |members| ActivityDraft::read(kind, members)),
                ),
                None => Self::Unknown,
            },
            ("GET", ["community", id, "sources"]) => Self::GetSources(directory.find(id)),
            ("GET", ["community", id, "available-times"]) => Self::GetTimes(directory.find(id)),
            ("POST", ["community", id, "listing"]) => Self::PostListing {
                community: directory.find(id),
                community_id: (*id).into(),
                listing: read(members, |members| ListingDraft::read(members).map(Box::new)),
            },
            ("POST", ["appointment", "request"]) => Self::RequestTour(read(members, |members| {
                TourRequest::read(members, directory).map(Box::new)
            })),
            ("PUT", ["appointment", id, "cancel"]) => Self::CancelTour(Id::parse(id)),
            _ => Self::Unknown,
        };
        (call, about)
    }
}

impl About {
    /// The body's word counts before the path's.
    fn read(parts: &[&str], members: Option<&Map<String, Value>>) -> Self {
        let of_body = members.and_then(|members| members.get("communityId")?.as_str());
        if let Some(id) = of_body {
            return Self::Community(id.into());
        }
        let known = |id: Option<Id>, about: fn(Id) -> Self| id.map_or(Self::Nothing, about);
        match parts {
            ["community", id, _, ..] => Self::Community((*id).into()),
            ["prospect", id, ..] => known(Id::parse(id), Self::Prospect),
            ["appointment", id, ..] => known(Id::parse(id), Self::Appointment),
            _ => Self::Nothing,
        }
    }
}

fn read<T>(
    members: Checked<Map<String, Value>>,
    read: impl FnOnce(&mut Map<String, Value>) -> Checked<T>,
) -> Checked<T> {
    read(&mut members?)
}
