// Package main counts orders in JSON, and passes each on as it came, like its sibling in Rust.
package main

import (
	"orders/heddle"
	"orders/heddle/contracts"
)

func init() { heddle.Export(orders{}) }
func main() {}

type orders struct{}

func (orders) OnJSONIn(order contracts.Order) error {
	if order.Quantity < 0 {
		return heddle.Rejected("the quantity is negative")
	}
	sum, _ := heddle.StoreSums.Get("all")
	sum.Orders++
	sum.Quantity += order.Quantity
	sum.Ids = append(sum.Ids, order.ID)
	heddle.StoreSums.Put("all", sum)
	heddle.EmitJSONOut.Send(contracts.Receipt{Number: sum.Quantity, Order: order})
	return nil
}
