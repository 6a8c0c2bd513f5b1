from django.urls import path
from shop import views

urlpatterns = [path(view.__name__, view) for view in (views.place, views.basket, views.book, views.result)]
