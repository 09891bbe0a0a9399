//! Lists in pages: `limit`, `cursor`, and the `Link` header (RFC 8288).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::input::{InputError, params::Params};

/// Items of a page that asks for no number.
const DEFAULT_LIMIT: u32 = 20;
/// Most items of a page.
const MAX_LIMIT: u32 = 100;

/// What a client asks of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PageQuery {
    pub(crate) limit: u32,
    pub(crate) cursor: Option<String>,
}

impl PageQuery {
    /// Takes `limit` and `cursor`.
    pub(crate) fn take(params: &mut Params) -> Result<Self, InputError> {
        let limit = params.take("limit")?.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(InputError::invalid(
                "limit",
                format!("between 1 and {MAX_LIMIT}"),
            ));
        }
        Ok(Self {
            limit,
            cursor: params.take("cursor")?,
        })
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items, in the order of the list.
    pub(crate) items: Vec<T>,
    /// Cursor of the next page; null when this was the last one.
    pub(crate) next_cursor: Option<String>,
}

impl<T: Serialize> Page<T> {
    /// Answers with the page, and a `Link` to the next one that keeps the filters.
    ///
    /// `filters` are pairs of names and values that need no escaping in a query.
    pub(crate) fn answer(self, path: &str, limit: u32, filters: &[(&str, &str)]) -> Response {
        let link = self.next_cursor.as_ref().map(|cursor| {
            let mut link = format!("<{path}?limit={limit}");
            for (name, value) in filters {
                link.extend(["&", name, "=", value]);
            }
            link + "&cursor=" + cursor + ">; rel=\"next\""
        });
        let mut response = axum::Json(self).into_response();
        if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_keeps_limit_and_filters() {
        let page = Page {
            items: vec![1, 2],
            next_cursor: Some("abc".to_owned()),
        };
        let response = page.answer("/api/v1/tasks", 2, &[("state", "queued")]);
        assert_eq!(
            response.headers()[header::LINK],
            "</api/v1/tasks?limit=2&state=queued&cursor=abc>; rel=\"next\""
        );
    }

    #[test]
    fn the_last_page_has_no_link() {
        let page = Page::<u8> {
            items: Vec::new(),
            next_cursor: None,
        };
        assert!(
            page.answer("/", 1, &[])
                .headers()
                .get(header::LINK)
                .is_none()
        );
    }
}
