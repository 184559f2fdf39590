//! What a listener serves: deliveries on the webhook paths, and a router for the rest.

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::peer::Peer;
use super::webhook::Intake;
use crate::domain::network::Networks;

pub struct Site {
    intake: Option<Intake>,
    others: TowerToHyperService<Router>,
}

impl Site {
    pub(super) fn new(intake: Intake, others: Router) -> Self {
        Self { intake: Some(intake), others: TowerToHyperService::new(others) }
    }

    /// Answers a request of a connected sender, for any path.
    pub(super) async fn answer(&self, mut request: Request<Incoming>, peer: Peer, proxies: &Networks) -> Response {
        let peer = peer.of_request(request.headers(), proxies);
        if let Some(intake) = &self.intake
            && let Some(found) = intake.find(request.uri().path())
        {
            return intake.answer(found, request, peer).await;
        }
        request.extensions_mut().insert(peer);
        // On the heap, so that deliveries need no room for it.
        match Box::pin(self.others.call(request)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl From<Router> for Site {
    fn from(others: Router) -> Self {
        Self { intake: None, others: TowerToHyperService::new(others) }
    }
}
