//! The PostgreSQL ledger over its own connection.

use crate::contract;
use crate::postgres::Flavour;
use crate::stores::Postgres;

#[tokio::test]
async fn every_order_of_a_small_family_ends_in_the_same_rows() {
    let store = Postgres::direct(Flavour::Plain).await;
    contract::every_order_of_each_small_family_ends_in_the_same_rows(&store).await;
}

#[tokio::test]
async fn random_orders_of_a_large_history_end_in_the_same_rows() {
    let store = Postgres::direct(Flavour::Supabase).await;
    contract::random_orders_of_a_large_history_end_in_the_same_rows(&store, 30).await;
}

#[tokio::test]
async fn the_contract_holds() {
    contract::holds(&Postgres::direct(Flavour::Plain).await).await;
}
