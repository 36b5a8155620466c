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
import type { BodyBudget } from './http/body-budget.ts'
import type { RouteDefinition } from './http/route.ts'
import type { TracedRequest } from './tracing/request-spans.ts'
import type { TemporalClient } from './temporal/client.ts'

/** Writes one line per decision, with its ids; never payloads, never keys. */
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
  /** The folder with the public keys of trusted bundle signers. */
  signersFolder: string
  authentication: Authentication
  /** Counts the bytes of all requests that this replica holds. */
  bodies: BodyBudget
  serving: Serving
  temporal: TemporalClient
  metrics: Registry
  log: ApiLog
  /** Reads the signed heads of the audit log, which are stored outside the database. */
  heads: HeadReader
  /** Signs sessions, and commands to workflows. */
  signer: Signer
  /** Signs the certificates of releases. */
  certificateSigner: Signer
  subjects: SubjectKey
  /** Returns whether a process of this installation wrote a row of the audit log. */
  isSigned: IsSigned
  /** Calls other replicas with the certificate authorities that this machine trusts. Default: `fetch`. */
  callReplica?: ApiFetch
  /** The model that `/invocations` serves. Default: the only model. */
  invocationsModel?: string
  /** The identity provider; absent when users sign in by key only. */
  oidc?: OidcConfig
  /** The path of the file of alert channels. */
  alertChannels: string
  /** Runs a request in a span; absent when no traces are sent. */
  traced?: (
    route: RouteDefinition,
    request: TracedRequest,
    work: () => Promise<Response>,
  ) => Promise<Response>
  /** Returns why this process and the workers cannot read each other's payloads; undefined while they can, or when no worker is alive. */
  payloadKeyIssue?: () => string | undefined
  /** Returns why this process accepts no more requests; undefined while it does. */
  stopping: () => string | undefined
}

/** What the use cases in `services` depend on. */
export type CommandDeps = Pick<
  ApiDeps,
  'store' | 'temporal' | 'log' | 'signer' | 'subjects' | 'serving' | 'callReplica'
>
