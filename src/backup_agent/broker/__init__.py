"""What commands and events have in common at the message broker: connections, and the topology. RabbitMQ by pika."""
