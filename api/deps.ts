/** Declares what the routes and use cases depend on, so that a test can replace any of it. */
import type { Registry } from 'prom-client'
import type { Artifacts } from '../store/artifacts.ts'
import type { IsSigned } from '../store/audit/row-signatures.ts'
import type { HeadReader } from '../store/audit/signed-heads.ts'
import type { Store } from '../store/postgres.ts'
import type { Signer } from '../store/signing/signing-key.ts'
import type { SubjectKey } from '../store/signing/subject-hash.ts'
import type { ApiFetch } from '../store/tls/api-fetch.ts'
import type { OidcConfig } from '../domain/access/oidc-config.ts'
import type { Authentication } from './auth/authentication.ts'
import type { Serving } from './serving/replica-assembly.ts'
import type { RouteDefinition } from './http/route.ts'
import type { TracedRequest } from './tracing/request-spans.ts'
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
  artifacts: Artifacts
  /** The directory of artifacts on this machine. */
  artifactRoot: string
  /** The folder of the public keys whose bundles are trusted. */
  signersFolder: string
  authentication: Authentication
  serving: Serving
  temporal: TemporalClient
  metrics: Registry
  log: ApiLog
  /** Signed heads of the audit log, stored outside the database. */
  heads: HeadReader
  /** Signs commands on their way to the workflows, and sessions. */
  signer: Signer
  subjects: SubjectKey
  /** Whether a process of this installation has written a row of the audit log. */
  isSigned: IsSigned
  /** Calls other replicas, and trusts what this machine is told to; plain `fetch` when absent. */
  callReplica?: ApiFetch
  /** The model of `/invocations`; the only one that is served when absent. */
  invocationsModel?: string
  /** Identity provider; absent when users sign in by key only. */
  oidc?: OidcConfig
  /** The file of the alert channels. */
  alertChannels: string
  /** Runs a request as a span; absent while no traces are sent. */
  traced?: (
    route: RouteDefinition,
    request: TracedRequest,
    work: () => Promise<Response>,
  ) => Promise<Response>
  /** Why this process and the workers cannot read each other's payloads; undefined while they can, or when none lives. */
  payloadKeyIssue?: () => string | undefined
  /** Why this process accepts no more requests; undefined while it does. */
  stopping: () => string | undefined
}

/** What the use cases in `services` need. */
export type CommandDeps = Pick<
  ApiDeps,
  'store' | 'temporal' | 'log' | 'signer' | 'subjects' | 'serving' | 'callReplica'
>
