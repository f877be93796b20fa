//! `static`: a folder of files over HTTP, for repos that need no more.

use tokio::net::TcpListener;
use tower_http::services::ServeDir;

use super::args::Static;
use super::output;
use crate::api::{Failure, Kind};

pub(super) fn serve(site: &Static) -> Result<(), Failure> {
    if !site.directory.is_dir() {
        return Err(Failure::new(Kind::Usage, format!("`{}` is not a folder", site.directory.display())));
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", site.port)).await.map_err(|error| {
            Failure::new(Kind::Failed, format!("cannot listen on port {}: {error}", site.port))
                .hint("give another one with `--port`, or 0 for a free one")
        })?;
        output::print(&format!("serving {} on http://{}/\n", site.directory.display(), listener.local_addr()?))?;
        let files = axum::Router::new().fallback_service(ServeDir::new(&site.directory));
        Ok(axum::serve(listener, files).await?)
    })
}
