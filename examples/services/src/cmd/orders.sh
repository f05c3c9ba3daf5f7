hello orders
