/**
 * Finds champions, commands, releases and keys that no row of the audit log explains. Each is written in one transaction with its audit row, so
 * one without it was written with the password of the database. Verify the log itself first.
 */
import sql from 'sql-template-tag'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import type { ReleaseStage } from '../../domain/release/state.ts'
import { digestOfJson } from '../artifacts.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** How many rows of each kind are named. */
const maxNamed = 100

/** One sentence for each row without its audit row; empty when all have one. */
export const findUnaudited = async (database: Database): Promise<string[]> => [
  ...(await listChampions(database)),
  ...(await listCommands(database)),
  ...(await listReleases(database)),
  ...(await listKeys(database)),
]

const listChampions = (database: Database) =>
  rowsFrom(database).column<string>(sql`
    select 'the champion ' || champions.version || ' of ' || champions.model || ' was moved without an audit row'
    from champions left join lateral (
      select case action when 'champion.promoted' then subject else detail ->> 'to' end as version
      from audit where audit.model = champions.model and action in ('champion.promoted', 'champion.rolled_back')
      order by seq desc limit 1) as audited on true
    where audited.version is distinct from champions.version
    order by champions.model limit ${maxNamed}`)

const listCommands = (database: Database) =>
  rowsFrom(database).column<string>(sql`
    select 'the command ' || id || ' (' || kind || ' by ' || actor || ') was recorded without an audit row'
    from commands where not exists (
      select from audit where action = 'command.recorded' and detail ->> 'id' = commands.id)
    order by position limit ${maxNamed}`)

const listKeys = (database: Database) =>
  rowsFrom(database).column<string>(sql`
    select 'the key ' || id || ' (' || name || ', ' || role || ') was created without an audit row'
    from api_keys where not exists (select from audit where action = 'key.created' and subject = api_keys.id)
    order by created_at limit ${maxNamed}`)

interface FoundRelease {
  id: string
  version: string
  policy: ReleasePolicy
  stage: ReleaseStage
  outcome?: string
  /** What was audited when it was opened. */
  opened?: { version: string; digests: { policy: string } }
  /** The users whose approvals it counts, and those whose approvals it has accepted. */
  counted: string[]
  approved: string[]
  isForced: boolean
}

/** The releases that are open or have made a champion. */
async function listReleases(database: Database): Promise<string[]> {
  const found = await rowsFrom(database).list<FoundRelease>(sql`
    select id, state ->> 'version' as version, state -> 'policy' as policy, state ->> 'stage' as stage, outcome,
      (select detail from audit where subject = releases.id and action = 'release.opened' order by seq limit 1) as opened,
      array(select approval ->> 'by' from jsonb_array_elements(state -> 'approvals') as approval) as counted,
      array(select distinct actor from commands
        where release_id = releases.id and kind = 'approve' and accepted) as approved,
      exists (select from commands where release_id = releases.id and kind = 'promoteNow' and accepted) as is_forced
    from releases where ended_at is null or outcome = 'promoted' order by started_at desc`)
  return found
    .flatMap((release) => {
      const issue = issueOf(release)
      return issue === undefined ? [] : [`the release ${release.id} ${issue}`]
    })
    .slice(0, maxNamed)
}

/** No candidate has traffic, or has been promoted, before the approvals. */
const unexposed: readonly ReleaseStage[] = ['qualifying', 'awaiting_approval', 'rolling_back', 'ended']

function issueOf({
  version,
  policy,
  stage,
  outcome,
  opened,
  counted,
  approved,
  isForced,
}: FoundRelease): string | undefined {
  if (opened === undefined) return 'was opened without an audit row'
  if (opened.version !== version) return `is of ${version}; it was opened for ${opened.version}`
  if (opened.digests.policy !== digestOfJson(policy)) return 'has another policy than it was opened with'
  const invented = counted.find((by) => !approved.includes(by))
  if (invented !== undefined) return `counts an approval by ${invented} that no command has given`
  const { approvers } = policy.approval
  const isPast = outcome === 'promoted' || !unexposed.includes(stage)
  if (isPast && !isForced && approved.length < approvers)
    return `is past its approval with ${approved.length} of ${approvers} approvals`
  return undefined
}
