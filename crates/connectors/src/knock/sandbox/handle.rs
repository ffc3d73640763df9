//! What each vendor call does and answers when nothing befalls it.
//!
//! Guarantee: a call that is refused has changed nothing.

use std::io;

use http::StatusCode;
use model::Timestamp;
use serde_json::{Value, json};

use super::activities::ActivityDraft;
use super::appointments::TourRequest;
use super::assumptions::BAD_BODY_STATUS;
use super::call::Call;
use super::directory::{CommunityIndex, Directory};
use super::draft::Draft;
use super::fields::Refusal;
use super::ids::Id;
use super::listings::ListingDraft;
use super::replies::{error_message, unknown};
use super::state::State;
use crate::sandbox::{BODY_MAX_BYTES, reply::Reply};

type Answered = Result<Reply, Reply>;

impl From<Refusal> for Reply {
    fn from(Refusal(reason): Refusal) -> Self {
        error_message(BAD_BODY_STATUS, &reason)
    }
}

impl From<io::Error> for Reply {
    fn from(error: io::Error) -> Self {
        let reason = format!("the sandbox cannot write its journal: {error}");
        error_message(StatusCode::INTERNAL_SERVER_ERROR, &reason)
    }
}

pub(super) fn handle(
    state: &mut State,
    directory: &Directory,
    call: Call,
    now: Timestamp,
) -> Reply {
    let answered = match call {
        Call::PostProspect(draft) => draft
            .map_err(Reply::from)
            .and_then(|draft| post_prospect(state, directory, *draft, now)),
        Call::GetProspect(id) => get_prospect(state, id),
        Call::PostActivity(id, draft) => post_activity(state, directory, id, draft, now),
        Call::GetSources(community) => get_sources(state, community),
        Call::GetTimes(community) => get_times(directory, community, now),
        Call::PostListing {
            community: None, ..
        } => Err(unknown("community")),
        Call::PostListing {
            community_id,
            listing,
            ..
        } => listing
            .map_err(Reply::from)
            .and_then(|listing| post_listing(state, *listing, community_id, now)),
        Call::RequestTour(request) => request
            .map_err(Reply::from)
            .and_then(|request| request_tour(state, directory, *request, now)),
        Call::CancelTour(id) => cancel_tour(state, id, now),
        Call::TooLarge => Err(error_message(
            BAD_BODY_STATUS,
            &format!("the body is larger than {BODY_MAX_BYTES} bytes"),
        )),
        Call::Unknown => Err(unknown("path")),
    };
    answered.unwrap_or_else(|refusal| refusal)
}

fn post_prospect(
    state: &mut State,
    directory: &Directory,
    draft: Draft,
    now: Timestamp,
) -> Answered {
    state.check_source(draft.community, &draft.source_title)?;
    Ok(id_reply(state.put_card(draft, directory, now)?))
}

fn get_prospect(state: &State, id: Option<Id>) -> Answered {
    let card = id.and_then(|id| state.held.cards.get(id));
    let card = card.ok_or_else(|| unknown("prospect"))?;
    Ok(Reply::json(StatusCode::OK, &card.shown))
}

fn post_activity(
    state: &mut State,
    directory: &Directory,
    id: Option<Id>,
    draft: Result<ActivityDraft, Refusal>,
    now: Timestamp,
) -> Answered {
    let card = id.and_then(|id| state.held.cards.get(id));
    let card = card.ok_or_else(|| unknown("prospect"))?;
    let (prospect_id, community_id) = (card.shown.prospect_id, card.shown.community_id.clone());
    let draft = draft?;
    if let Some(community) = directory.find(&community_id) {
        if let Some(username) = &draft.agent {
            directory.check_agent(community, username)?;
        }
        if let Some(title) = draft.source_title() {
            state.check_source(community, title)?;
        }
    }
    Ok(id_reply(state.record(
        draft,
        prospect_id,
        community_id,
        now,
    )?))
}

fn get_sources(state: &State, community: Option<CommunityIndex>) -> Answered {
    let community = community.ok_or_else(|| unknown("community"))?;
    let titles = state.sources.titles(community).iter();
    let edges: Vec<Value> = titles
        .map(|title| json!({ "node": { "sourceTitle": title } }))
        .collect();
    Ok(Reply::json(StatusCode::OK, &json!({ "edges": edges })))
}

fn get_times(directory: &Directory, community: Option<CommunityIndex>, now: Timestamp) -> Answered {
    let times = community.and_then(|community| directory.tour_times(community));
    let times = times.ok_or_else(|| unknown("community"))?;
    let times = json!({ "acceptableTimes": times.offered(now) });
    Ok(Reply::json(StatusCode::OK, &times))
}

fn post_listing(
    state: &mut State,
    listing: ListingDraft,
    community_id: Box<str>,
    now: Timestamp,
) -> Answered {
    Ok(id_reply(state.put_listing(listing, community_id, now)?))
}

fn request_tour(
    state: &mut State,
    directory: &Directory,
    request: TourRequest,
    now: Timestamp,
) -> Answered {
    let draft = &request.draft;
    state.check_source(draft.community, &draft.source_title)?;
    let times = directory.tour_times(draft.community);
    let times = times.ok_or_else(|| unknown("community"))?;
    let start = times.accept(request.start, now)?;
    let id = state.book(request, start, directory, now)?;
    Ok(tour_reply(id, "CONFIRMED"))
}

fn cancel_tour(state: &mut State, id: Option<Id>, now: Timestamp) -> Answered {
    let id = id.ok_or_else(|| unknown("appointment"))?;
    if state.cancel(id, now)? {
        Ok(tour_reply(id, "CANCELLED"))
    } else {
        Err(unknown("appointment"))
    }
}

fn id_reply(id: Id) -> Reply {
    Reply::json(StatusCode::OK, &json!({ "id": id }))
}

fn tour_reply(id: Id, status: &str) -> Reply {
    let tour = json!({ "appointment": { "id": id, "status": status } });
    Reply::json(StatusCode::OK, &tour)
}
