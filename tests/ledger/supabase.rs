//! The Supabase ledger, over the stand-in of the REST layer.

use crate::contract;
use crate::stores::Postgres;

#[tokio::test]
async fn every_order_of_a_small_family_ends_in_the_same_rows() {
    contract::every_order_of_each_small_family_ends_in_the_same_rows(&Postgres::rest().await).await;
}

#[tokio::test]
async fn random_orders_of_a_large_history_end_in_the_same_rows() {
    contract::random_orders_of_a_large_history_end_in_the_same_rows(&Postgres::rest().await, 20).await;
}

#[tokio::test]
async fn the_contract_holds() {
    contract::holds(&Postgres::rest().await).await;
}
