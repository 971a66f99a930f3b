//! Gives each joined order the name of its currency: a third table, as reference data.

heddle_sdk::component!(Named);

use contracts::{OrderNamed, OrderWithCustomer, ShopPublicCurrenciesKey};

struct Named;

impl on_orders_joined::Guest for Named {
    fn handle(order: Option<OrderWithCustomer>) -> Result<(), Failure> {
        let key = heddle_sdk::context::current().key.unwrap_or_default();
        let key = String::from_utf8_lossy(&key).into_owned();
        let Some(order) = order else {
            emit_orders_named::delete(&key);
            return Ok(());
        };
        let change = table_currencies::get(&ShopPublicCurrenciesKey { code: order.currency.clone() });
        let Some(currency) = change.and_then(|change| change.after) else {
            return Err(Failure::failed(format!("the currency {} is not known yet", order.currency)));
        };
        let named = OrderNamed {
            order_id: order.order_id,
            customer: order.customer,
            amount: order.amount,
            currency: currency.name,
        };
        emit_orders_named::send_with(&named, Some(&key), &[]);
        Ok(())
    }
}
