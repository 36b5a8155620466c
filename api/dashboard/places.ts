/** Every page and every form, with who may use it. What does not stand here is nowhere. */
import { viewers } from '../declare.ts'
import type { FormPlace, Place } from './declare.ts'

/** In the order of the navigation. */
export const places: readonly Place[] = [
  {
    path: '/',
    allow: viewers,
    summary: 'Every model at a glance, live.',
    nav: 'Overview',
    find: async () => (await import('./pages/overview.tsx')).overview,
  },
]

export const forms: readonly FormPlace[] = [
  {
    path: '/sign-in',
    allow: 'public',
    summary: 'Exchanges a key for a session.',
    find: async () => (await import('./pages/sign-in.tsx')).signIn,
  },
  {
    path: '/sign-out',
    allow: viewers,
    summary: 'Ends the session.',
    find: async () => (await import('./pages/sign-in.tsx')).signOut,
  },
]
