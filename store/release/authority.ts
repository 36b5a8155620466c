/**
 * Reads what permits the steps of a release: how it was opened, the signed commands, and the verdicts. Activities wrote each of these
 * from their own observation; none comes from a workflow.
 */
import sql from 'sql-template-tag'
import type { OpenedFacts } from '../../domain/release/facts.ts'
import type { ReleaseRecord, SignedStatement, StageVerdicts } from '../../domain/release/permission.ts'
import type { Role } from '../../domain/roles.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import { findPromotion } from '../registry/champions.ts'
import { verifyCommand, type SignedCommand } from '../signing/command-signatures.ts'
import type { Verifier } from '../signing/signing-key.ts'

/** Undefined without a row. */
export async function findReleaseRecord(
  database: Database,
  verifier: Verifier,
  id: string,
): Promise<ReleaseRecord | undefined> {
  const opened = await rowsFrom(database).find<{
    facts: OpenedFacts
    artifactDigest: string
    policyDigest: string
    rolledBack: boolean
  }>(sql`
    select facts, artifact_digest, policy_digest, rolled_back_at is not null as rolled_back
    from releases where id = ${id}`)
  if (opened === undefined) return undefined
  const { facts, artifactDigest: artifact, policyDigest: policy, rolledBack } = opened
  return {
    facts,
    digests: { artifact, policy },
    statements: await listStatements(database, verifier, facts),
    verdicts: await listStageVerdicts(database, id),
    promoted: (await findPromotion(database, id)) !== undefined,
    rolledBack,
  }
}

interface SentRow {
  command: SignedCommand['command']
  sent: Omit<SignedCommand, 'command' | 'model' | 'release'> & { signature: string }
  atMs: number
  key: string
  name: string
  role: Role
  models?: string[]
  isActive: boolean
}

async function listStatements(
  database: Database,
  verifier: Verifier,
  { id: release, model }: OpenedFacts,
): Promise<SignedStatement[]> {
  const rows = await rowsFrom(database).list<SentRow>(sql`
    select command, sent, (extract(epoch from at) * 1000)::float8 as at_ms, api_keys.id as key, name, role, models,
      coalesce(revoked_at > at, true) and coalesce(expires_at > at, true) as is_active
    from release_commands join api_keys on api_keys.id = split_part(sent ->> 'signature', '.', 1)
    where release_id = ${release} and accepted order by at, release_commands.id`)
  return rows.flatMap(({ command, sent, atMs, key, name, role, models, isActive }) => {
    const { signature, ...said } = sent
    const keyId = verifyCommand(verifier, { ...said, command, model, release }, { signature, nowMs: atMs })
    if (keyId !== key || name !== said.by) return []
    const { by, reason, artifactDigest: artifact, evaluationDigest: evaluation, policyDigest: policy } = said
    return [
      {
        command,
        by,
        key,
        role,
        reason,
        atMs,
        isValid: isActive && (models === undefined || models.includes(model)),
        seen: { artifact, evaluation, policy },
        untilMs: said.until === undefined ? undefined : Date.parse(said.until),
      },
    ]
  })
}

const listStageVerdicts = (database: Database, releaseId: string): Promise<StageVerdicts[]> =>
  rowsFrom(database).list<StageVerdicts>(sql`
    select stage, stage_index, bool_or(kind = 'pass') as passed, max(id)::float8 as last,
      (extract(epoch from min(at)) * 1000)::float8 as first_ms
    from decisions where release_id = ${releaseId} group by stage, stage_index`)
