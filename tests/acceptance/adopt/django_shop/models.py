from django.db import models


class Order(models.Model):
    customer = models.CharField(max_length=100)
    run = models.CharField(max_length=36, default="")
    paid = models.BooleanField(default=False)


class Booking(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    attempt = models.IntegerField()
