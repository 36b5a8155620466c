/** Opens sessions of the users of a dashboard, and reuses closed ones: starting a renderer and signing in costs more than most pages. */
import type { Browser } from 'playwright-core'
import { openSession, type BrowserSession } from './browser-session.ts'
import type { DashboardFixture } from './dashboard-fixture.ts'

export interface SignedSessions {
  /** Opens a session that is not signed in. */
  visited(): Promise<BrowserSession>
  signedIn(who: keyof DashboardFixture['keys'], path?: string): Promise<BrowserSession>
}

export function openSignedSessions(browser: Browser, dashboard: DashboardFixture): SignedSessions {
  const closed = new Map<string, BrowserSession[]>()
  const visited = () => openSession(browser, { url: dashboard.url })
  return {
    visited,
    async signedIn(who, path = '/') {
      const before = closed.get(who)?.pop()
      const session = before ?? (await visited())
      session.problems.length = 0
      if (before === undefined) await session.signIn(dashboard.keys[who], path)
      else await session.page.goto(path)
      return {
        ...session,
        async close() {
          await session.page.goto('/glossary')
          await session.page.emulateMedia({ colorScheme: 'light', reducedMotion: null })
          await session.page.setViewportSize({ width: 1_280, height: 900 })
          closed.set(who, [...(closed.get(who) ?? []), session])
        },
      }
    },
  }
}
