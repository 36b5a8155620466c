/** Registers every page and form with its roles. A page that is missing here is not served. */
import { admins, viewers } from '../http/route.ts'
import { reviewers } from '../services/review/review-queue.ts'
import { modelActionNames, modelActions } from './pages/model/action-roles.ts'
import { alertHandlers } from './pages/operations/alert-roles.ts'
import type { FormEntry, PageEntry } from './page.ts'

const pagesFor = (
  allow: PageEntry['allow'],
  pages: Readonly<Record<string, Omit<PageEntry, 'path' | 'allow'>>>,
): PageEntry[] => Object.entries(pages).map(([path, page]) => ({ path, allow, ...page }))

/** The pages, in the order of the navigation. */
export const pageRegistry: readonly PageEntry[] = [
  ...pagesFor(viewers, {
    '/': {
      summary: 'Show all models with their live state.',
      nav: 'Overview',
      find: async () => (await import('./pages/overview/overview.tsx')).overviewPage,
    },
    '/timeline': {
      summary: 'Show releases, drift, quality and incidents of the last seven days.',
      find: async () => (await import('./pages/overview/timeline.tsx')).timelinePage,
    },
    '/guide': {
      summary: 'Guide a first look: the story of a model as it happens, and what to try next.',
      find: async () => (await import('./pages/overview/guide.tsx')).guidePage,
    },
    '/releases': {
      summary: 'List releases by model and outcome.',
      nav: 'Releases',
      find: async () => (await import('./pages/release/releases.tsx')).releasesPage,
    },
    '/releases/:id': {
      summary: 'Show a release with its evidence and commands.',
      find: async () => (await import('./pages/release/release.tsx')).releasePage,
    },
    '/releases/:id/simulation': {
      summary: 'Simulate the policy of a release on recorded traffic.',
      find: async () => (await import('./pages/release/simulation.tsx')).simulationPage,
    },
    '/retrainings': {
      summary: 'List retrainings by model.',
      nav: 'Retrainings',
      find: async () => (await import('./pages/training/retrainings.tsx')).retrainingsPage,
    },
    '/retrainings/:id': {
      summary: 'Show a retraining live. Send slashes in the id as %2F.',
      find: async () => (await import('./pages/training/retraining.tsx')).retrainingPage,
    },
    '/triggers': {
      summary: 'List the schedules and triggers of retrainings and batches.',
      find: async () => (await import('./pages/training/triggers.tsx')).triggersPage,
    },
    '/sweeps': {
      summary: 'List sweeps with their winners.',
      find: async () => (await import('./pages/training/sweeps.tsx')).sweepsPage,
    },
    '/sweeps/:id': {
      summary: 'Show a sweep: its trials with values, scores and losses, and what went to the gate.',
      find: async () => (await import('./pages/training/sweeps.tsx')).sweepPage,
    },
    '/models': {
      summary: 'List models with their champion and latest version.',
      nav: 'Models',
      find: async () => (await import('./pages/model/models.tsx')).modelsPage,
    },
    '/models/:name': {
      summary: 'Show a model: versions, champion at a time, quality and drift.',
      find: async () => (await import('./pages/model/model.tsx')).modelPage,
    },
    '/models/:name/features': {
      summary: 'Compare the live inputs of a model with the training data of its champion.',
      find: async () => (await import('./pages/model/model-features.tsx')).featuresPage,
    },
    '/models/:name/reviews': {
      summary: 'List the answers of a model that wait for a review, with the form that answers.',
      find: async () => (await import('./pages/model/reviews.tsx')).reviewsPage,
    },
    '/models/:name/versions/:version': {
      summary: 'Show a version: evaluation, training and model card.',
      find: async () => (await import('./pages/model/model-version.tsx')).versionPage,
    },
    '/models/:name/versions/:version/card': {
      summary: 'Show the model card of a version.',
      find: async () => (await import('./pages/model/model-version.tsx')).cardPage,
    },
    '/versions': {
      summary: 'Search the versions of all models.',
      find: async () => (await import('./pages/model/versions.tsx')).versionsPage,
    },
    '/compare': {
      summary: 'Compare two versions.',
      find: async () => (await import('./pages/model/compare.tsx')).comparePage,
    },
    '/data': {
      summary: 'List training snapshots.',
      nav: 'Data',
      find: async () => (await import('./pages/training/snapshots.tsx')).snapshotsPage,
    },
    '/data/:digest': {
      summary: 'Show a snapshot with its validation.',
      find: async () => (await import('./pages/training/snapshot.tsx')).snapshotPage,
    },
    '/alerts': {
      summary: 'List open alerts by model and kind, the worst first, and resolved ones.',
      nav: 'Alerts',
      find: async () => (await import('./pages/operations/alerts.tsx')).alertsPage,
    },
    '/runbooks/:page': {
      summary: 'Show the runbook of an alert.',
      find: async () => (await import('./pages/operations/runbook.tsx')).runbookArticle,
    },
    '/glossary': {
      summary: 'Explain the terms of releases and statistics for a decision.',
      find: async () => (await import('./pages/search/glossary.tsx')).glossaryPage,
    },
    '/search': {
      summary: 'Search models, versions, releases, runs and the audit log.',
      find: async () => (await import('./pages/search/search.tsx')).searchPage,
    },
    '/device': {
      summary: 'Explain the code that signs in on another device.',
      find: async () => (await import('./pages/sign-in/device.tsx')).devicePage,
    },
    '/drills': {
      summary: 'List drills with their detection and recovery times.',
      nav: 'Drills',
      find: async () => (await import('./pages/operations/drills.tsx')).drillsPage,
    },
    '/audit': {
      summary: 'List the audit log.',
      nav: 'Audit',
      find: async () => (await import('./pages/operations/audit.tsx')).auditPage,
    },
  }),
  ...modelActionNames.map((name) => ({
    path: `/models/:name/${name}`,
    allow: modelActions[name].allow,
    summary: `${modelActions[name].does} of a model: shows what changes, and asks.`,
    find: async () => (await import('./pages/model/actions.tsx')).actionPage(name),
  })),
  ...pagesFor(admins, {
    '/audit/verification': {
      summary: 'Verify the newest entries of the audit log.',
      find: async () => (await import('./pages/operations/audit-verification.tsx')).verificationPage,
    },
  }),
]

/** The files that pages link to. */
export const downloadRegistry: readonly FormEntry[] = [
  {
    path: '/releases/:id/post-mortem.md',
    allow: viewers,
    summary: 'Download the draft of a post-mortem of a release that was rolled back.',
    find: async () => (await import('./pages/release/downloads.ts')).downloadPostMortem,
  },
  {
    path: '/releases/:id/exposed.csv',
    allow: viewers,
    summary: 'Download the predictions that callers received from the candidate of a release.',
    find: async () => (await import('./pages/release/downloads.ts')).downloadExposed,
  },
]

export const formRegistry: readonly FormEntry[] = [
  {
    path: '/releases/:id/commands',
    // Admits every role with a command; the release checks the roles of each command.
    allow: ['operator', 'approver', 'admin'],
    summary: 'Send a command to a release, with a reason.',
    shows: { 202: 'A page that says what is queued' },
    find: async () => (await import('./pages/release/command.tsx')).submitReleaseCommand,
  },
  {
    path: '/retrainings/:id/cancel',
    allow: ['operator', 'admin'],
    summary: 'Cancel a running retraining.',
    find: async () => (await import('./pages/training/cancel.tsx')).submitCancel,
  },
  ...modelActionNames.map((name) => ({
    path: `/models/:name/${name}`,
    allow: modelActions[name].allow,
    summary: `${modelActions[name].does} of a model.`,
    shows: { 200: 'The page of the model, with what was done', 202: 'A page that says what is queued' },
    find: async () => (await import('./pages/model/actions.tsx')).submitAction(name),
  })),
  {
    path: '/models/:name/reviews',
    allow: reviewers,
    summary: 'Store a review of a prediction.',
    find: async () => (await import('./pages/model/review-action.ts')).submitReview,
  },
  {
    path: '/sign-in',
    allow: 'public',
    summary: 'Sign in with an API key.',
    find: async () => (await import('./pages/sign-in/sign-in.tsx')).signIn,
  },
  {
    path: '/device',
    allow: viewers,
    summary: 'Make a code that signs in on another device.',
    shows: { 200: 'A page with the code' },
    find: async () => (await import('./pages/sign-in/device.tsx')).createCode,
  },
  {
    path: '/sign-out',
    allow: viewers,
    summary: 'End the session.',
    find: async () => (await import('./pages/sign-in/sign-in.tsx')).signOut,
  },
  {
    path: '/alerts',
    allow: alertHandlers,
    summary: 'Acknowledge or resolve groups of alerts.',
    find: async () => (await import('./pages/operations/alert-action.ts')).submitAlertAction,
  },
]
