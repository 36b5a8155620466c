/** Lists the pages of models, data and operations with their roles, for the page registry. */
import { admins, viewers } from '../http/route.ts'
import { alertHandlers } from './pages/operations/alert-roles.ts'
import type { FormEntry, PageEntry } from './page.ts'

export const modelPages: readonly PageEntry[] = [
  {
    path: '/models',
    allow: viewers,
    summary: 'List models with their champion and latest version.',
    nav: 'Models',
    find: async () => (await import('./pages/model/models.tsx')).modelsPage,
  },
  {
    path: '/models/:name',
    allow: viewers,
    summary: 'Show a model: versions, champion at a time, quality and drift.',
    find: async () => (await import('./pages/model/model.tsx')).modelPage,
  },
  {
    path: '/models/:name/features',
    allow: viewers,
    summary: 'Compare the live inputs of a model with the training data of its champion.',
    find: async () => (await import('./pages/model/model-features.tsx')).featuresPage,
  },
  {
    path: '/models/:name/versions/:version',
    allow: viewers,
    summary: 'Show a version: evaluation, training and model card.',
    find: async () => (await import('./pages/model/model-version.tsx')).versionPage,
  },
  {
    path: '/models/:name/versions/:version/card',
    allow: viewers,
    summary: 'Show the model card of a version.',
    find: async () => (await import('./pages/model/model-version.tsx')).cardPage,
  },
  {
    path: '/versions',
    allow: viewers,
    summary: 'Search the versions of all models.',
    find: async () => (await import('./pages/model/versions.tsx')).versionsPage,
  },
  {
    path: '/compare',
    allow: viewers,
    summary: 'Compare two versions.',
    find: async () => (await import('./pages/model/compare.tsx')).comparePage,
  },
]

export const operationsPages: readonly PageEntry[] = [
  {
    path: '/data',
    allow: viewers,
    summary: 'List training snapshots.',
    nav: 'Data',
    find: async () => (await import('./pages/training/snapshots.tsx')).snapshotsPage,
  },
  {
    path: '/data/:digest',
    allow: viewers,
    summary: 'Show a snapshot with its validation.',
    find: async () => (await import('./pages/training/snapshot.tsx')).snapshotPage,
  },
  {
    path: '/alerts',
    allow: viewers,
    summary: 'List alerts, open ones first.',
    nav: 'Alerts',
    find: async () => (await import('./pages/operations/alerts.tsx')).alertsPage,
  },
  {
    path: '/runbooks/:page',
    allow: viewers,
    summary: 'Show the runbook of an alert.',
    find: async () => (await import('./pages/operations/runbook.tsx')).runbookArticle,
  },
  {
    path: '/drills',
    allow: viewers,
    summary: 'List drills with their detection and recovery times.',
    nav: 'Drills',
    find: async () => (await import('./pages/operations/drills.tsx')).drillsPage,
  },
  {
    path: '/audit',
    allow: viewers,
    summary: 'List the audit log.',
    nav: 'Audit',
    find: async () => (await import('./pages/operations/audit.tsx')).auditPage,
  },
  {
    path: '/audit/verification',
    allow: admins,
    summary: 'Verify the newest entries of the audit log.',
    find: async () => (await import('./pages/operations/audit-verification.tsx')).verificationPage,
  },
]

export const operationsForms: readonly FormEntry[] = [
  {
    path: '/alerts/:id',
    allow: alertHandlers,
    summary: 'Acknowledge or resolve an alert.',
    find: async () => (await import('./pages/operations/alert-action.ts')).submitAlertAction,
  },
]
