"""Routes of this room."""

from django.urls import path

from credits import api, pages

urlpatterns = [
    path("api/extension/credit-balance", api.CreditBalance.as_view()),
    path("budgets", pages.all_budgets, name="budgets"),
    path("budgets/<str:budget_id>", pages.budget, name="budget"),
    path("budgets/<str:budget_id>/remove", pages.remove_budget, name="remove-budget"),
]
