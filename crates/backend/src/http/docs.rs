//! The API described: `/openapi.json`, `/docs`, `/redoc`, `/docs/errors`; all of it offline.

mod reasons;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::Path,
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use http::header;
use sutazai_proto::{ErrorCode, Problem};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use super::problem::Failure;

const REDOC_PAGE: &str = include_str!("../../assets/redoc.html");
const REDOC_STYLE: &str = include_str!("../../assets/redoc.css");
const REDOC_SCRIPT: &str = include_str!("../../assets/redoc.js");

/// Builds the routes that describe the API.
///
/// # Errors
/// The document cannot be rendered.
pub(super) fn routes(api: &OpenApi) -> Result<Router, serde_json::Error> {
    let document = Bytes::from(serde_json::to_vec(api)?);
    let swagger = Arc::new(Config::from("/openapi.json").try_it_out_enabled(true));
    let index = swagger.clone();
    let errors = Html(reasons::page());
    Ok(Router::new()
        .route(
            "/openapi.json",
            get(async move || ([(header::CONTENT_TYPE, "application/json")], document)),
        )
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .route("/docs/", get(async move || asset("", index)))
        .route(
            "/docs/{*file}",
            get(async move |Path(file): Path<String>| asset(&file, swagger)),
        )
        .route("/docs/errors", get(async move || errors))
        .route("/redoc", get(async || Html(REDOC_PAGE)))
        .route(
            "/redoc/style.css",
            get(async || text("text/css; charset=utf-8", REDOC_STYLE)),
        )
        .route(
            "/redoc/script.js",
            get(async || text("text/javascript; charset=utf-8", REDOC_SCRIPT)),
        ))
}

fn text(media_type: &'static str, body: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, media_type)], body)
}

/// Answers with a file of the Swagger UI, which is part of the binary.
fn asset(file: &str, config: Arc<Config<'static>>) -> Response {
    match utoipa_swagger_ui::serve(file, config) {
        Ok(Some(file)) => {
            let encoding = file
                .gzpipped
                .then_some([(header::CONTENT_ENCODING, "gzip")]);
            let body = Bytes::from(file.bytes.into_owned());
            ([(header::CONTENT_TYPE, file.content_type)], encoding, body).into_response()
        }
        Ok(None) | Err(_) => Failure::from_problem(Problem::new(
            ErrorCode::NotFound,
            "route_not_found",
            "the documentation has no such file",
        ))
        .into_response(),
    }
}
