/** The pages of models, of data and of the records, with who may use them; `places.ts` takes them in. */
import { admins, viewers } from '../http/route.ts'
import { alertHandlers } from './pages/operations/alert-roles.ts'
import type { FormPlace, Place } from './page.ts'

export const modelPlaces: readonly Place[] = [
  {
    path: '/models',
    allow: viewers,
    summary: 'Every model, its champion and its newest version.',
    nav: 'Models',
    find: async () => (await import('./pages/model/models.tsx')).models,
  },
  {
    path: '/models/:name',
    allow: viewers,
    summary: 'One model: versions through time, what was live at a moment, quality and drift.',
    find: async () => (await import('./pages/model/model.tsx')).model,
  },
  {
    path: '/models/:name/features',
    allow: viewers,
    summary: 'What a model is asked, beside what its champion was trained on.',
    find: async () => (await import('./pages/model/model-features.tsx')).featuresPage,
  },
  {
    path: '/models/:name/versions/:version',
    allow: viewers,
    summary: 'One version: how it was judged, how its training went, and its card.',
    find: async () => (await import('./pages/model/model-version.tsx')).versionPage,
  },
  {
    path: '/models/:name/versions/:version/card',
    allow: viewers,
    summary: 'The card of a version, to be read or printed.',
    find: async () => (await import('./pages/model/model-version.tsx')).cardPage,
  },
  {
    path: '/versions',
    allow: viewers,
    summary: 'Searches the versions of all models.',
    find: async () => (await import('./pages/model/versions.tsx')).versions,
  },
  {
    path: '/compare',
    allow: viewers,
    summary: 'Two versions side by side, what differs first.',
    find: async () => (await import('./pages/model/compare.tsx')).compare,
  },
]

export const recordPlaces: readonly Place[] = [
  {
    path: '/data',
    allow: viewers,
    summary: 'The snapshots that models learn from.',
    nav: 'Data',
    find: async () => (await import('./pages/training/snapshots.tsx')).data,
  },
  {
    path: '/data/:digest',
    allow: viewers,
    summary: 'One snapshot with its validation.',
    find: async () => (await import('./pages/training/snapshot.tsx')).snapshotPage,
  },
  {
    path: '/alerts',
    allow: viewers,
    summary: 'What a person should know; what is open first.',
    nav: 'Alerts',
    find: async () => (await import('./pages/operations/alerts.tsx')).alerts,
  },
  {
    path: '/runbooks/:page',
    allow: viewers,
    summary: 'What to do about an alert.',
    find: async () => (await import('./pages/operations/runbook.tsx')).runbook,
  },
  {
    path: '/drills',
    allow: viewers,
    summary: 'Rehearsed releases and how soon each was noticed.',
    nav: 'Drills',
    find: async () => (await import('./pages/operations/drills.tsx')).drills,
  },
  {
    path: '/audit',
    allow: viewers,
    summary: 'Who changed what in production.',
    nav: 'Audit',
    find: async () => (await import('./pages/operations/audit.tsx')).audit,
  },
  {
    path: '/audit/verification',
    allow: admins,
    summary: 'Follows the newest rows of the audit back, and says whether they are whole.',
    find: async () => (await import('./pages/operations/audit-verification.tsx')).verification,
  },
]

export const recordForms: readonly FormPlace[] = [
  {
    path: '/alerts/:id',
    allow: alertHandlers,
    summary: 'Takes an alert on, or says that it is over.',
    find: async () => (await import('./pages/operations/alert-action.ts')).updateAlert,
  },
]
