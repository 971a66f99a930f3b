//! The rules for an order. Plain functions, tested without a host: `cargo test`.

/// Orders above this amount are reviewed by a person.
pub const REVIEW_ABOVE: f64 = 1_000.0;

/// Checks an order's lines, each a quantity and a price, against its total. Returns the number of items, or the
/// reason why the order is wrong.
pub fn check(lines: impl Iterator<Item = (i32, f64)>, total: f64) -> Result<i32, String> {
    let (mut items, mut sum) = (0i32, 0.0);
    for (quantity, price) in lines {
        if quantity < 1 {
            return Err(format!("a quantity of {quantity}"));
        }
        if price < 0.0 {
            return Err(format!("a price of {price:.2}"));
        }
        items = items.saturating_add(quantity);
        sum += f64::from(quantity) * price;
    }
    if items == 0 {
        return Err("no items".to_owned());
    }
    // Rounding may lose half a cent. The condition is negated so that it rejects NaN, too.
    if !((sum - total).abs() < 0.005) {
        return Err(format!("the items cost {sum:.2}, the total says {total:.2}"));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn an_order_adds_up() {
        assert_eq!(check([(2, 0.1), (1, 0.1)].into_iter(), 0.3), Ok(3));
    }

    #[test]
    fn wrong_orders_are_explained() {
        assert_eq!(check([].into_iter(), 0.0), Err("no items".to_owned()));
        assert_eq!(check([(0, 1.0)].into_iter(), 0.0), Err("a quantity of 0".to_owned()));
        assert_eq!(check([(1, -1.0)].into_iter(), -1.0), Err("a price of -1.00".to_owned()));
        assert_eq!(check([(1, 9.99)].into_iter(), 10.0), Err("the items cost 9.99, the total says 10.00".to_owned()));
        assert!(check([(1, f64::NAN)].into_iter(), 1.0).is_err());
    }
}
