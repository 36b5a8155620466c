/** Prepares the database before any process starts: schema, models, and a key for this machine. */
import type { Role } from '../../domain/roles.ts'
import type { BrokenModel } from '../../models/index.ts'
import { findRoleWeaknesses, openRoles } from '../../store/database/application-role.ts'
import {
  auditKey,
  ensureAdminKey,
  findActiveKeys,
  hashOfKey,
  insertKey,
  revokeKey,
} from '../../store/access/api-keys.ts'
import { rowSigner } from '../../store/audit/row-signatures.ts'
import { migrate, noteMigrations } from '../../store/database/migrate.ts'
import { openStore, type Store } from '../../store/postgres.ts'
import { openSigner } from '../../store/signing/signing-key.ts'
import { checkConnectionBudget } from '../../store/database/connection-budget.ts'
import { forgetBackupState } from '../../store/maintenance/backup-state.ts'
import type { Config } from '../../temporal.config.ts'
import { ensureSearchAttributes } from '../sync/search-attributes.ts'
import { syncModels, withTemporal } from '../sync/sync-models.ts'

export interface Prepared {
  /** The first admin key; only at the first start. */
  adminKey?: string
  /** The key for commands on this machine. */
  localKey: string
  broken: BrokenModel[]
  /** Ways in which a role could rewrite the audit log, and excess rights of external queries. */
  warnings: string[]
}

const localName = 'local'

/** Formats the lines that show a new admin key. A failed start prints them too, because the key is not stored. */
export function firstKey({ adminKey }: Pick<Prepared, 'adminKey'>): string[] {
  if (adminKey === undefined) return []
  return [
    '',
    `Admin key    ${adminKey}`,
    '             Shown once. The CLI on this machine is already signed in.',
  ]
}

export async function prepareCore(core: {
  config: Config
  localKey?: string | undefined
  /** Connects as the owner of the tables, if the processes use another role. */
  ownerDatabaseUrl?: string
  applicationPassword?: string
  readerPassword?: string
  replicas?: number
  /** Whether backups are scheduled. */
  hasBackups?: boolean
}): Promise<Prepared> {
  const { config } = core
  await migrateAsOwner(config.databaseUrl, core)
  const { namespace } = config.temporal
  await withTemporal(config, (_, connection) => ensureSearchAttributes(connection, namespace))
  const signAudit = rowSigner(await openSigner(config.signing, 'artifacts'))
  const store = openStore(config.databaseUrl, { name: 'tenure up', max: 2, signAudit })
  try {
    await checkConnectionBudget(store, { api: core.replicas ?? 1, control: 1, train: 1, commands: 1 })
    await noteMigrations(store)
    const warnings = await findRoleWeaknesses(store)
    if (core.hasBackups !== true) await forgetBackupState(store)
    const { broken } = await syncModels({ config, store, spareSent: true })
    const adminKey = await ensureAdminKey(store)
    const localKey = await ensureKey(store, { name: localName, role: 'admin', known: core.localKey })
    return { broken, localKey, adminKey, warnings }
  } finally {
    await store.close()
  }
}

/** Migrates as the owner of the tables. Grants access to the role of the processes and the role of external queries. */
export async function migrateAsOwner(
  databaseUrl: string,
  {
    ownerDatabaseUrl,
    applicationPassword: application,
    readerPassword: reader,
  }: { ownerDatabaseUrl?: string; applicationPassword?: string; readerPassword?: string },
): Promise<void> {
  await migrate(ownerDatabaseUrl ?? databaseUrl)
  if (ownerDatabaseUrl !== undefined && application !== undefined)
    await openRoles(ownerDatabaseUrl, { application, reader })
}

/** Returns the known key if it is still valid. Otherwise creates a key of this name and revokes the old one. `store` signs audit rows. */
export async function ensureKey(
  store: Store,
  { name, role, known }: { name: string; role: Role; known?: string },
): Promise<string> {
  const named = (await findActiveKeys(store)).find((each) => each.name === name)
  if (known !== undefined && named?.hash === hashOfKey(known).toString('hex') && named.role === role)
    return known
  return store.transaction(async (database) => {
    if (named !== undefined) await auditKey(database, 'key.revoked', await revokeKey(database, named.id))
    const { key, facts } = await insertKey(database, { name, role })
    await auditKey(database, 'key.created', facts)
    return key
  })
}
