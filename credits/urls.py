"""Routes of this room."""

from django.urls import path

from credits import api, billing_pages, pages

urlpatterns = [
    path("api/extension/credit-balance", api.CreditBalance.as_view()),
    path("api/webhooks/stripe", api.StripeEvents.as_view()),
    path("billing/pay", billing_pages.pay, name="pay"),
    path("billing", billing_pages.billing, name="billing"),
    path("billing/ledger", billing_pages.ledger_page, name="ledger"),
    path("billing/statements/<str:month>.csv", billing_pages.statement_csv, name="statement-csv"),
    path("billing/statements/<str:month>", billing_pages.statement, name="statement"),
    path("billing/ask", billing_pages.ask, name="ask-for-credit"),
    path("billing/requests/<str:top_up_id>", billing_pages.top_up, name="top-up"),
    path("budgets", pages.all_budgets, name="budgets"),
    path("budgets/<str:budget_id>", pages.budget, name="budget"),
    path("budgets/<str:budget_id>/remove", pages.remove_budget, name="remove-budget"),
]
