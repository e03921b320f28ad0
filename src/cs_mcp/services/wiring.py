"""All use cases over one store."""

from __future__ import annotations

from cs_mcp.db.store import Store
from cs_mcp.domain.contract import Written
from cs_mcp.services.accounts.accounts import Accounts, CreateAccount, UpdateAccount
from cs_mcp.services.accounts.bulk import AccountsUpdated, BulkAccounts, UpdateAccounts
from cs_mcp.services.accounts.completeness import Completeness
from cs_mcp.services.accounts.lifecycle import Lifecycle, MoveAccountStage, StageMoved
from cs_mcp.services.accounts.merge import Merge, Merged, MergeRecords
from cs_mcp.services.accounts.timeline import Timeline
from cs_mcp.services.accounts.views import AccountLine, NoteLine, TaskLine
from cs_mcp.services.briefs.briefs import Briefs
from cs_mcp.services.completions import Completions
from cs_mcp.services.health.accuracy import HealthAccuracy
from cs_mcp.services.health.explained import HealthExplanations
from cs_mcp.services.health.health import AddHealthNote, HealthNotes
from cs_mcp.services.health.overrides import OverrideHealth, Overrides, OverrideView
from cs_mcp.services.health.risk_views import RiskView
from cs_mcp.services.health.risks import Risks, SaveRisk
from cs_mcp.services.history.changes import Changes
from cs_mcp.services.history.undo import Undo, UndoChanges, Undone
from cs_mcp.services.identity import Identity
from cs_mcp.services.metrics.books import CsmBooks
from cs_mcp.services.metrics.cs_return import CsReturn
from cs_mcp.services.metrics.goals import Goals
from cs_mcp.services.metrics.health import Health
from cs_mcp.services.metrics.metrics import Metrics
from cs_mcp.services.metrics.renewals import RenewalRates
from cs_mcp.services.metrics.revenue import Churn, Concentration, LifetimeValue
from cs_mcp.services.metrics.tiers import Tiers
from cs_mcp.services.opportunities.opportunities import Opportunities
from cs_mcp.services.opportunities.saving import OpportunitySaving, SaveOpportunity
from cs_mcp.services.opportunities.views import OpportunityView
from cs_mcp.services.people.sponsors import AssignSponsor, Changed, RecordDeparture, SaveContact, Sponsors
from cs_mcp.services.renewals.closing import MoveRenewal, RenewalMoves
from cs_mcp.services.renewals.renewals import Renewals, UpdateRenewal
from cs_mcp.services.renewals.views import RenewalDone
from cs_mcp.services.revenue.cohorts import Cohorts
from cs_mcp.services.revenue.forecast import Forecasts
from cs_mcp.services.revenue.retention import Retentions
from cs_mcp.services.search import Searches
from cs_mcp.services.signals.signals import RecordSignals, SignalsRecorder, SignalsTold
from cs_mcp.services.work.meeting_answer import LoggedMeeting
from cs_mcp.services.work.meetings import LogMeeting, Meetings
from cs_mcp.services.work.scheduling import PlannedMeeting, ScheduleMeeting, Scheduling
from cs_mcp.services.work.tasks import CreateTasks, TaskList, Tasks, UpdateTask
from cs_mcp.services.workspace import Workspaces
from cs_mcp.services.writes import Writes


class Services:
    """One of each; a write use case is entered here so that a plan can find it by its tool's name."""

    def __init__(self, store: Store, secret: bytes, *, link_base: str | None = None) -> None:
        self.store = store
        self.identity = Identity(store, secret)
        self.writes = Writes(store)
        self.workspaces = Workspaces(store)
        self.accounts = Accounts(store)
        self.notes = HealthNotes(store)
        self.explanations = HealthExplanations(store)
        self.tasks = Tasks(store)
        self.meetings = Meetings(store)
        self.sponsors = Sponsors(store)
        self.renewals = Renewals(store)
        self.opportunities = Opportunities(store)
        self.changes = Changes(store, self.writes)
        self.briefs = Briefs(store)
        self.completions = Completions(store)
        self.searches = Searches(store, self.accounts, link_base)
        self.timeline = Timeline(store)
        self.accuracy = HealthAccuracy(store)
        self.forecasts = Forecasts(store)
        self.cohorts = Cohorts(store)
        self.retentions = Retentions(store)
        self.metrics = Metrics(
            store,
            {
                "health": Health(store),
                "completeness": Completeness(store),
                "churn": Churn(store),
                "clv": LifetimeValue(store),
                "concentration": Concentration(store),
                "renewals": RenewalRates(store),
                "books": CsmBooks(store),
                "goals": Goals(store),
                "cs_return": CsReturn(store),
                "tiers": Tiers(store),
            },
        )

        enter = self.writes.register
        enter(CreateAccount, self.accounts.create, Written[AccountLine])
        enter(UpdateAccount, self.accounts.update, Written[AccountLine])
        enter(MoveAccountStage, Lifecycle().move, Written[StageMoved])
        enter(UpdateAccounts, BulkAccounts().update, Written[AccountsUpdated])
        enter(MergeRecords, Merge().merge, Written[Merged])
        enter(AddHealthNote, self.notes.add, Written[NoteLine])
        enter(OverrideHealth, Overrides().override, Written[OverrideView])
        enter(SaveRisk, Risks().save, Written[RiskView])
        enter(CreateTasks, self.tasks.create, Written[TaskList])
        enter(UpdateTask, self.tasks.update, Written[TaskLine])
        enter(LogMeeting, self.meetings.log, Written[LoggedMeeting])
        enter(ScheduleMeeting, Scheduling().schedule, Written[PlannedMeeting])
        enter(SaveContact, self.sponsors.save, Written[Changed])
        enter(AssignSponsor, self.sponsors.assign, Written[Changed])
        enter(RecordDeparture, self.sponsors.depart, Written[Changed])
        enter(UpdateRenewal, self.renewals.update, Written[RenewalDone])
        enter(MoveRenewal, RenewalMoves().move, Written[RenewalDone])
        enter(SaveOpportunity, OpportunitySaving().save, Written[OpportunityView])
        enter(RecordSignals, SignalsRecorder().record, Written[SignalsTold])
        enter(UndoChanges, Undo().undo, Written[Undone])
