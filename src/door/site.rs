//! What a listener serves: deliveries on the webhook paths, and a router for the rest.

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::webhook::Intake;

pub struct Site {
    intake: Option<Intake>,
    others: TowerToHyperService<Router>,
}

impl Site {
    pub(super) fn new(intake: Intake, others: Router) -> Self {
        Self { intake: Some(intake), others: TowerToHyperService::new(others) }
    }

    /// Answers a request, whatever it asks for.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response {
        if let Some(intake) = &self.intake
            && let Some(found) = intake.find(request.uri().path())
        {
            return intake.answer(found, request).await;
        }
        // On the heap, so that deliveries do not carry room for it.
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
