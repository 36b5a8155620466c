/** What the routes are given. They are built from it and from nothing else, so that a test can hand them another database. */
import type { Registry } from 'prom-client'
import type { HeadList } from '../store/audit/signed-heads.ts'
import type { Store } from '../store/postgres.ts'
import type { Signer } from '../store/signing/signing-key.ts'
import type { OidcConfig } from '../temporal.config.ts'
import type { Authentication } from './auth/authentication.ts'
import type { Serving } from './serving/replica-assembly.ts'
import type { TemporalClient } from './temporal/client.ts'

/** One line per decision, with its ids. Never payloads, never keys. */
export interface ApiLog {
  debug(fields: Record<string, unknown>, message: string): void
  info(fields: Record<string, unknown>, message: string): void
  warn(fields: Record<string, unknown>, message: string): void
  error(fields: Record<string, unknown>, message: string): void
}

export interface ApiDeps {
  store: Store
  authentication: Authentication
  serving: Serving
  temporal: TemporalClient
  metrics: Registry
  log: ApiLog
  /** What was kept of the audit outside of the database. */
  heads: HeadList
  /** Signs what people say on its way to the workflows. */
  signer: Signer
  /** Where people sign in beside their keys; absent when nowhere. */
  oidc?: OidcConfig
  /** Why this process wants no more requests; nothing while it does. */
  stopping: () => string | undefined
}

/** What the use cases in `services` need. */
export type CommandDeps = Pick<ApiDeps, 'store' | 'temporal' | 'log' | 'signer' | 'serving'>
