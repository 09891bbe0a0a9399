//! nginx with one worker: keep-alive to the upstream, nothing buffered, no log.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    failure::Failure,
    stage::{Core, Program, Running, Stage, free_address},
};

/// Its name in the table.
pub const NAME: &str = "nginx";
/// Where distributions put it.
const PLACES: [&str; 3] = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
const LIMIT: Duration = Duration::from_secs(10);

/// Starts it in front of the upstream.
///
/// # Errors
/// It is not there, or does not start.
pub async fn start(stage: &Stage, upstream: SocketAddr) -> Result<(SocketAddr, Running), Failure> {
    let file = PLACES
        .map(PathBuf::from)
        .into_iter()
        .find(|file| file.is_file());
    let file = file.ok_or_else(|| {
        Failure::Missing(
            NAME,
            "Debian, Ubuntu: sudo apt-get install nginx-light".to_owned(),
        )
    })?;
    let folder = stage.folder().join("peers/nginx");
    fs::create_dir_all(&folder).map_err(Failure::doing("make nginx's folder"))?;
    let at = free_address()?;
    let settings = folder.join("nginx.conf");
    fs::write(&settings, configuration(at, upstream))
        .map_err(Failure::doing("write nginx.conf"))?;
    let words = [
        "-p",
        &folder.display().to_string(),
        "-c",
        &settings.display().to_string(),
    ];
    let program = Program::new("nginx", file, words.map(str::to_owned).to_vec());
    let running = stage.start(&program, Core::Server).await?;
    running.ready(at, "/api/version", LIMIT).await?;
    Ok((at, running))
}

fn configuration(at: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr error;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n  \
         fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  \
         keepalive_requests 1000000000;\n  tcp_nodelay on;\n  \
         upstream node {{ server {upstream}; keepalive 1024; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {at} backlog=4096;\n    location / {{\n      proxy_pass http://node;\n      \
         proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_buffering off;\n    \
         }}\n  }}\n}}\n"
    )
}
