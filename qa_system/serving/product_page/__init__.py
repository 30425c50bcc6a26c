"""What `qa serve` has for product pages beside answers: the widget, and what shoppers say of it."""
