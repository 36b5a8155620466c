/** Every page and every form, with who may use it. What does not stand here is nowhere. */
import { viewers } from '../http/route.ts'
import { modelPlaces, recordForms, recordPlaces } from './page-registry-models.ts'
import type { FormPlace, Place } from './page.ts'

/** In the order of the navigation. */
export const places: readonly Place[] = [
  {
    path: '/',
    allow: viewers,
    summary: 'Every model at a glance, live.',
    nav: 'Overview',
    find: async () => (await import('./pages/overview/overview.tsx')).overview,
  },
  {
    path: '/releases',
    allow: viewers,
    summary: 'All releases, by model and outcome.',
    nav: 'Releases',
    find: async () => (await import('./pages/release/releases.tsx')).releases,
  },
  {
    path: '/releases/:id',
    allow: viewers,
    summary: 'One release, for who has to decide.',
    find: async () => (await import('./pages/release/release.tsx')).releasePage,
  },
  {
    path: '/releases/:id/simulation',
    allow: viewers,
    summary: 'What the policy of a release would do, played on recorded traffic.',
    find: async () => (await import('./pages/release/simulation.tsx')).simulationPage,
  },
  {
    path: '/retrainings',
    allow: viewers,
    summary: 'All retrainings, by model.',
    nav: 'Retrainings',
    find: async () => (await import('./pages/training/retrainings.tsx')).retrainings,
  },
  {
    path: '/retrainings/:id',
    allow: viewers,
    summary: 'One retraining, live. Slashes in the id are sent as %2F.',
    find: async () => (await import('./pages/training/retraining.tsx')).retrainingPage,
  },
  ...modelPlaces,
  ...recordPlaces,
]

export const forms: readonly FormPlace[] = [
  {
    path: '/releases/:id/say',
    // Of these, each word has its own; see the reducer of a release.
    allow: ['operator', 'approver', 'admin'],
    summary: 'Says a word to a release, with a reason.',
    find: async () => (await import('./pages/release/command.tsx')).say,
  },
  {
    path: '/sign-in',
    allow: 'public',
    summary: 'Exchanges a key for a session.',
    find: async () => (await import('./pages/sign-in/sign-in.tsx')).signIn,
  },
  {
    path: '/sign-out',
    allow: viewers,
    summary: 'Ends the session.',
    find: async () => (await import('./pages/sign-in/sign-in.tsx')).signOut,
  },
  ...recordForms,
]
