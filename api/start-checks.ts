/** Checks the connection budget while a replica starts, reloads its certificate, and creates the first admin key. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import { isError, type DomainError } from '../domain/errors.ts'
import { ensureAdminKey } from '../store/access/api-keys.ts'
import { expectRoomFor } from '../store/database/connection-budget.ts'
import type { Store } from '../store/postgres.ts'
import { watchCertificate, type CertificateWatch } from '../store/tls/certificate.ts'
import type { TlsSettings } from '../store/tls/settings.ts'

/** The SQLSTATE of `undefined_table`. */
const undefinedTable = '42P01'
/** How long a starting replica waits for the check of the connection budget, in milliseconds. */
const refusalMs = 5_000

/**
 * Returns the error when the connection budget is exceeded. Runs during the start, because a replica also starts without a database. A
 * database that becomes reachable later is not checked.
 */
export async function findRefusal(store: Store): Promise<DomainError | undefined> {
  const untilMs = performance.now() + refusalMs
  while (performance.now() < untilMs) {
    try {
      await expectRoomFor(store, 'api')
      return undefined
    } catch (error) {
      if (isError(error, 'configuration_invalid')) return error
    }
    await pause(refusalMs / 20)
  }
  return undefined
}

/**
 * Reads the certificate again when its files change, and ignores one that cannot be used. Throws `configuration_invalid` when the first
 * cannot be used.
 */
export function followCertificate(
  tls: TlsSettings | undefined,
  logger: Logger,
): CertificateWatch | undefined {
  if (tls === undefined) return undefined
  const certificate = watchCertificate(tls, {
    onError: (error) => logger.error(`${error.message}; the former certificate stays in use`),
  })
  certificate.subscribe(({ endsMs }) => logger.info({ ends: new Date(endsMs) }, 'certificate read again'))
  return certificate
}

/**
 * Creates the first admin key, once Postgres responds and is migrated. Prints the key as plain text and not to the log, which would store
 * it.
 */
export async function showFirstKey(
  store: Store,
  logger: Logger,
  stopping: () => string | undefined,
): Promise<void> {
  const made = new Map<string, string>()
  for (let pauseMs = 1_000; stopping() === undefined; pauseMs = Math.min(2 * pauseMs, 30_000))
    try {
      const key = await ensureAdminKey(store, made)
      if (key !== undefined) process.stderr.write(`The first admin key, shown this once: ${key}\n`)
      return
    } catch (error) {
      const isMigrated = (error as { code?: unknown }).code !== undefinedTable
      if (isMigrated && !isError(error, 'postgres_unavailable'))
        return logger.error({ err: error }, 'the first admin key could not be created')
      await pause(pauseMs)
    }
}
