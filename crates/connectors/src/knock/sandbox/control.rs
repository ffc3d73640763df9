//! What the control surface of this sandbox has beside that of all: pages of what is held, its
//! switches, and what somebody at Knock would do.

use http::{Method, StatusCode};
use model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::KnockImitation;
use super::card_edit::CardEdit;
use super::cards::CardView;
use super::fields::Refusal;
use super::ids::Id;
use super::state::State;
use crate::sandbox::control::{Control, Page, Wrong, json_of, ok, parse};
use crate::sandbox::reply::Reply;

/// The most cards or activities of a page; more is what `GET /_sandbox/state` is for.
const MOST_PAGE_RECORDS: u64 = 10_000;

/// The words for what is known here beside what every sandbox knows.
pub(super) const CONTROLS: &str = ". Of this sandbox alone: GET prospects, activities and settings; \
    POST settings, prospects/{id} and communities/{id}; DELETE prospects/{id}";

impl From<Refusal> for Wrong {
    fn from(Refusal(reason): Refusal) -> Self {
        Self::bad(reason)
    }
}

/// Answers what only this sandbox knows; `None` when it does not either.
pub(super) fn answer(
    own: &KnockImitation,
    state: &mut State,
    control: &Control<'_>,
    now: Timestamp,
) -> Option<Result<Reply, Wrong>> {
    let is = |method: Method| *control.method == method;
    let body = control.body;
    Some(match control.path {
        "/prospects" if is(Method::GET) => page(control, |page| {
            let cards = state.held.cards.after(page.after).take(page.limit);
            let cards: Vec<_> = cards.map(CardView::new).collect();
            ok(&json_of("prospects", &cards))
        }),
        "/activities" if is(Method::GET) => page(control, |page| {
            let activities = state.held.activities.after(page.after).take(page.limit);
            ok(&json_of("activities", &activities.collect::<Vec<_>>()))
        }),
        "/settings" if is(Method::GET) => Ok(ok(&state.settings)),
        "/settings" if is(Method::POST) => parse(body).map(|settings| {
            state.settings = settings;
            ok(&settings)
        }),
        other => {
            let (list, id) = other.strip_prefix('/')?.split_once('/')?;
            match list {
                "prospects" if is(Method::POST) => edit_card(own, state, id, body, now),
                "prospects" if is(Method::DELETE) => vanish(own, state, id),
                "communities" if is(Method::POST) => replace_sources(own, state, id, body),
                _ => return None,
            }
        }
    })
}

fn page(control: &Control<'_>, shown: impl FnOnce(Page) -> Reply) -> Result<Reply, Wrong> {
    Page::read(control.query, MOST_PAGE_RECORDS).map(shown)
}

/// Changes a card as somebody at Knock would.
fn edit_card(
    own: &KnockImitation,
    state: &mut State,
    id: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<Reply, Wrong> {
    let directory = &own.directory;
    let id = Id::parse(id).ok_or_else(|| no_card(id))?;
    let card = state.held.cards.get(id).ok_or_else(|| no_card(id))?;
    let community = directory.find(&card.shown.community_id);
    let community = community.ok_or_else(|| no_card(id))?;
    let edit = CardEdit::read(&mut parse(body)?)?;
    if let Some(username) = &edit.agent {
        directory.check_agent(community, username)?;
    }
    state.edit_card(id, community, edit, now)?;
    let card = state.held.cards.get(id).ok_or_else(|| no_card(id))?;
    Ok(ok(&CardView::new(card)))
}

/// Makes a card vanish, and its contacts with it.
fn vanish(own: &KnockImitation, state: &mut State, id: &str) -> Result<Reply, Wrong> {
    let known = Id::parse(id).ok_or_else(|| no_card(id))?;
    if state.vanish(known, &own.directory)? {
        Ok(ok(&json!({})))
    } else {
        Err(no_card(id))
    }
}

fn no_card(id: impl std::fmt::Display) -> Wrong {
    Wrong(StatusCode::NOT_FOUND, format!("there is no prospect {id}"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesBody {
    sources: Vec<String>,
}

fn replace_sources(
    own: &KnockImitation,
    state: &mut State,
    id: &str,
    body: &[u8],
) -> Result<Reply, Wrong> {
    let community = own.directory.find(id).ok_or_else(|| {
        let reason = format!("there is no community {id}");
        Wrong(StatusCode::NOT_FOUND, reason)
    })?;
    let SourcesBody { sources } = parse(body)?;
    let replaced = state.sources.replace(community, sources.clone());
    replaced.map_err(|reason| Wrong::bad(format!("the community then {reason}")))?;
    Ok(ok(&SourcesBody { sources }))
}
