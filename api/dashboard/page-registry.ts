/** Registers every page and form with its roles. A page that is missing here is not served. */
import { viewers } from '../http/route.ts'
import { modelPages, operationsForms, operationsPages } from './page-registry-models.ts'
import type { FormEntry, PageEntry } from './page.ts'

/** In the order of the navigation. */
export const pageRegistry: readonly PageEntry[] = [
  {
    path: '/',
    allow: viewers,
    summary: 'Show all models with their live state.',
    nav: 'Overview',
    find: async () => (await import('./pages/overview/overview.tsx')).overviewPage,
  },
  {
    path: '/releases',
    allow: viewers,
    summary: 'List releases by model and outcome.',
    nav: 'Releases',
    find: async () => (await import('./pages/release/releases.tsx')).releasesPage,
  },
  {
    path: '/releases/:id',
    allow: viewers,
    summary: 'Show a release with its evidence and commands.',
    find: async () => (await import('./pages/release/release.tsx')).releasePage,
  },
  {
    path: '/releases/:id/simulation',
    allow: viewers,
    summary: 'Simulate the policy of a release on recorded traffic.',
    find: async () => (await import('./pages/release/simulation.tsx')).simulationPage,
  },
  {
    path: '/retrainings',
    allow: viewers,
    summary: 'List retrainings by model.',
    nav: 'Retrainings',
    find: async () => (await import('./pages/training/retrainings.tsx')).retrainingsPage,
  },
  {
    path: '/retrainings/:id',
    allow: viewers,
    summary: 'Show a retraining live. Send slashes in the id as %2F.',
    find: async () => (await import('./pages/training/retraining.tsx')).retrainingPage,
  },
  ...modelPages,
  ...operationsPages,
]

export const formRegistry: readonly FormEntry[] = [
  {
    path: '/releases/:id/commands',
    // Each command has its own roles; see the reducer of a release.
    allow: ['operator', 'approver', 'admin'],
    summary: 'Send a command to a release, with a reason.',
    find: async () => (await import('./pages/release/command.tsx')).submitReleaseCommand,
  },
  {
    path: '/sign-in',
    allow: 'public',
    summary: 'Sign in with an API key.',
    find: async () => (await import('./pages/sign-in/sign-in.tsx')).signIn,
  },
  {
    path: '/sign-out',
    allow: viewers,
    summary: 'End the session.',
    find: async () => (await import('./pages/sign-in/sign-in.tsx')).signOut,
  },
  ...operationsForms,
]
