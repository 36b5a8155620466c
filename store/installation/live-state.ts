/** Reads the live state of an installation as resources, except schedules, which Temporal keeps. */
import sql from 'sql-template-tag'
import {
  resourceKinds,
  type Resource,
  type ResourceKind,
  type ResourceValue,
} from '../../domain/installation/resource.ts'
import { ssoPrefix } from '../access/sso-keys.ts'
import { listKeys, type KeyFacts } from '../access/api-keys.ts'
import { listRemovedModels } from '../maintenance/expected-work.ts'
import { listStoredChannels } from '../monitoring/alert-channels.ts'
import type { Database } from '../postgres.ts'
import { listModels } from '../registry/models.ts'
import { listKillSwitches } from '../serving/kill-switches.ts'

/** Allows one change at a time, until the transaction ends. */
export async function lockInstallation(database: Database): Promise<void> {
  await database.query(sql`select pg_advisory_xact_lock(hashtext('installation'))`)
}

/** Leaves out models whose file was removed, revoked keys, keys of single sign-on, and every other kind than these. */
export async function readLiveState(
  database: Database,
  kinds: readonly ResourceKind[] = resourceKinds,
): Promise<Resource[]> {
  const isRead = (kind: ResourceKind) => kinds.includes(kind)
  const removed = new Set(await listRemovedModels(database))
  const models = await listModels(database)
  const keys = isRead('key') ? await listKeys(database) : []
  return [
    ...models
      .filter(({ name }) => !removed.has(name))
      .map(({ name, codeDigest: code, definition }) => ({
        kind: 'model' as const,
        name,
        value: { code, definition },
      })),
    ...keys
      .filter(({ revokedAt, name }) => revokedAt === undefined && !name.startsWith(ssoPrefix))
      .map((key) => ({ kind: 'key' as const, name: key.name, value: valueOfKey(key) })),
    ...(isRead('channel') ? await listStoredChannels(database) : []).map(({ name, ...value }) => ({
      kind: 'channel' as const,
      name,
      value,
    })),
    ...(await listKillSwitches(database))
      .filter(({ serve }) => serve !== 'normal')
      .map(({ model, serve }) => ({ kind: 'killSwitch' as const, name: model, value: { serve } })),
  ]
}

export const valueOfKey = ({
  role,
  models,
  expiresAt,
  requestsPerSecond,
  burst,
}: Pick<KeyFacts, 'role' | 'models' | 'expiresAt' | 'requestsPerSecond' | 'burst'>): ResourceValue => ({
  role,
  ...(models && { models: [...models].sort() }),
  ...(expiresAt && { expiresAt }),
  ...(requestsPerSecond && { requestsPerSecond, burst }),
})
