/**
 * Loads logged requests with their outcomes as the rows of a snapshot. Only requests that are old enough to have an outcome count,
 * because early outcomes are a biased sample.
 */
import { outputWidth } from '@tenure/predictors/features'
import {
  scorePlace,
  placesIn,
  decisionNames,
  decisionOf,
  numbersOf,
  taskOf,
} from '../../domain/tasks/tasks.ts'
import { DomainError } from '../../domain/errors.ts'
import { counted } from '../../domain/figures.ts'
import type { ModelDefinition, ServedSource } from '../../domain/model-definition.ts'
import { digestReason, readLoggedRows } from '../../domain/model/logged-rows.ts'
import { digestedFeatures, sentFeatures, storedKind, type Features } from '../../domain/model/features.ts'
import { completeMonitorPolicy } from '../../domain/monitoring/policy.ts'
import { labelText } from '../../domain/model/outcome.ts'
import { ageText, type ServedFacts, type ServedVersion } from '../../domain/training/served-facts.ts'
import { firstNeededMs } from '../../models/define/data/query.ts'
import {
  hasRoutingKey,
  routingKeyColumn,
  servedColumns,
  servedTable,
} from '../../models/define/data/served.ts'
import { quotedIdentifier, textLiteral } from '../../domain/sql-text.ts'
import { ownReader } from '../../store/database/cursor.ts'
import type { Store } from '../../store/postgres.ts'
import {
  listAnsweringVersions,
  readServedRequest,
  servedRequestsQuery,
  type AnsweringVersion,
  type ServedRequest,
} from '../../store/training/served-requests.ts'
import type { Duck } from '../data/duckdb.ts'
import { findMaturity } from '../monitor/matured-window.ts'
import { isOfNumbers, type Output } from '../../domain/tasks/output.ts'

/** Requests per fetch; each may have a thousand instances. */
const requestBatchSize = 500
/** Limits weights, because a larger one would let single rows decide. */
const maxWeight = 20
const bins = 10

/** Fills the table `served`. Throws `too_few_outcomes` with the reasons and their figures. */
export async function loadServedRows(
  duck: Duck,
  store: Store,
  definition: ModelDefinition,
  asOfMs: number,
): Promise<ServedFacts> {
  const { name: model, features, source, label } = definition
  const served = source.served!
  const matured = await findAge(store, definition, served, asOfMs)
  const span = {
    model,
    since: startOf(maturedAlike(definition, matured), asOfMs),
    asOf: new Date(asOfMs).toISOString(),
    matured: new Date(asOfMs - matured.maturedMs).toISOString(),
  }
  const versions = await listAnsweringVersions(store, span)
  const facts: ServedFacts = { ...matured, since: span.since, ...emptyCounts(versions, features) }
  const fills = source.derive !== undefined
  const usable = versions.filter(({ version }) => !isExcluded(facts.versions[version], definition))
  const columns = await createTable(duck, definition)
  if (usable.length > 0) {
    const query = servedRequestsQuery(
      span,
      usable.map(({ version }) => version),
      served.maxRequests,
    )
    const append = appender(facts, usable, { columns, served, label: label.output, fills })
    await ownReader(store, requestBatchSize)(query, async ({ rows }) => {
      const into = await duck.connection.createAppender('asked')
      for (const row of rows) append(into, readServedRequest(row))
      into.closeSync()
    })
  }
  await weigh(duck, label.output, fills)
  if (facts.rows < served.minRows) throw tooFew(definition, facts, versions, span.asOf)
  return facts
}

/** The test rows are the last rows. Rows too young to have an outcome would leave the test set empty. */
export function maturedAlike(
  definition: ModelDefinition,
  served: Pick<ServedFacts, 'maturedMs'> | undefined,
): ModelDefinition {
  const { split } = definition
  if (served === undefined || split.kind !== 'time') return definition
  return { ...definition, split: { ...split, maturedMs: Math.max(split.maturedMs, served.maturedMs) } }
}

/** The split may need a shorter period than the source offers. */
function startOf(definition: ModelDefinition, asOfMs: number): string | undefined {
  const sinceMs = definition.source.served?.sinceMs
  const neededMs = firstNeededMs(definition, asOfMs) ?? -Infinity
  const startMs = Math.max(neededMs, sinceMs === undefined ? -Infinity : asOfMs - sinceMs)
  return startMs === -Infinity ? undefined : new Date(startMs).toISOString()
}

async function findAge(
  store: Store,
  { name: model, monitor }: ModelDefinition,
  { maturedMs }: ServedSource,
  nowMs: number,
): Promise<Pick<ServedFacts, 'maturedMs' | 'isLearnt'>> {
  if (maturedMs !== undefined) return { maturedMs, isLearnt: false }
  const { spanMs: windowMs, observedMs } = completeMonitorPolicy(monitor)
  const found = await findMaturity(store, { model, nowMs, windowMs, observedMs })
  const learnt = found?.late.horizonMs
  if (learnt != null) return { maturedMs: Math.ceil(learnt), isLearnt: true }
  throw new DomainError(
    'too_few_outcomes',
    `the delay of the outcomes of ${model} is unknown as of ${new Date(nowMs).toISOString()}, so no request is old enough to count: it is learnt from 100 outcomes; write the age into the model file, as in served({ matured: '7 d' }), or send outcomes`,
    { model },
  )
}

function emptyCounts(versions: readonly AnsweringVersion[], features: Features) {
  const sum = (of: (each: AnsweringVersion) => number) => versions.reduce((all, each) => all + of(each), 0)
  const found = versions.map(({ version, predictions, young, ...logged }): [string, ServedVersion] => [
    version,
    { predictions: predictions - young, rows: 0, ...missingIn(logged, features) },
  ])
  return {
    predictions: sum(({ predictions, young }) => predictions - young),
    young: sum(({ young }) => young),
    rows: 0,
    unreadable: 0,
    removed: 0,
    versions: Object.fromEntries(found),
  }
}

/** Which features the requests of a version lack in the log, and of which it has only digests. */
export function missingIn(
  { features: logged, fits }: Pick<AnsweringVersion, 'features' | 'fits'>,
  features: Features,
): Pick<ServedVersion, 'lacks' | 'digested'> {
  const sent = sentFeatures(features)
  const kinds = new Map((fits ?? []).map(({ name, kind }) => [name, kind]))
  const lacks = Object.keys(sent).filter((name) => kinds.get(name) !== storedKind(sent[name]!))
  const digested = digestedFeatures(logged ?? {}).filter((name) => Object.hasOwn(sent, name))
  return {
    lacks: lacks.length === 0 ? undefined : lacks,
    digested: digested.length === 0 ? undefined : digested,
  }
}

/** A digest is no missing value, which could be imputed. */
const isExcluded = (
  version: ServedVersion | undefined,
  { features, source }: Pick<ModelDefinition, 'features' | 'source'>,
): boolean => version?.digested !== undefined || (source.derive === undefined && isLacking(version, features))

export const isLacking = (version: ServedVersion | undefined, features: Features): boolean =>
  version?.lacks?.some((name) => features[name]?.missing !== 'fill') ?? false

interface Columns {
  /** The features, in their order, with whether each is a number. */
  features: [name: string, isNumber: boolean][]
  withRoutingKey: boolean
}

const { predictionId, askedAt, knownAt, outcome, answer, version: versionColumn, arm, weight } = servedColumns

async function createTable(duck: Duck, definition: ModelDefinition): Promise<Columns> {
  const withRoutingKey = hasRoutingKey(definition)
  // Computed columns are computed again, by the expressions of the model file.
  const named = Object.entries(sentFeatures(definition.features)).map(
    ([name, { kind }]): [string, boolean] => [name, kind === 'number'],
  )
  const columns = [
    ...named.map(([name, isNumber]) => `${quotedIdentifier(name)} ${isNumber ? 'double' : 'varchar'}`),
    `${predictionId} varchar, _asked_ms double, _known_ms double, ${outcome} varchar`,
    `_class varchar, _score double, _numbers varchar, ${versionColumn} varchar, ${arm} varchar`,
    ...(withRoutingKey ? [`${routingKeyColumn} varchar`] : []),
  ]
  await duck.run(`create temp table asked (${columns.join(', ')})`)
  return { features: named, withRoutingKey }
}

type Appender = Awaited<ReturnType<Duck['connection']['createAppender']>>

/** Appends every instance of a request. Instances without an outcome count for the weights of the others. */
function appender(
  facts: ServedFacts,
  versions: readonly AnsweringVersion[],
  {
    columns: { features, withRoutingKey },
    served,
    label,
    fills,
  }: { columns: Columns; served: ServedSource; label: Output; fills: boolean },
) {
  const byName = new Map(versions.map((each) => [each.version, each]))
  const text = (into: Appender, value: string | null | undefined) =>
    value === null || value === undefined ? into.appendNull() : into.appendVarchar(value)
  const number = (into: Appender, value: number | null | undefined) =>
    value === null || value === undefined || !Number.isFinite(value)
      ? into.appendNull()
      : into.appendDouble(value)
  return (into: Appender, request: ServedRequest): void => {
    const { id, atMs, version, instances, outputs } = request
    const by = byName.get(version)!
    const rows =
      request.features === null ? undefined : readLoggedRows(request.features, by.fits ?? [], instances)
    const outcomes = new Map(request.outcomes.map((each) => [each[0], each]))
    const width = outputWidth(by.output)
    // Of several numbers the first of the label, by its name; the first of all where the label has another kind.
    const names = numbersOf(by.output)
    const middle = names.length > 0 ? Math.max(0, placesIn(by.output, label)[0]!) : scorePlace(by.output)
    const isText = taskOf(by.output).labelKind === 'text'
    for (let place = 0; place < instances; place++) {
      const [, value, arrivedMs, observedMs] = outcomes.get(place) ?? []
      const row = rows?.[place]
      // An unreadable outcome, such as a class that the label no longer has, must not count as a wrong prediction. A `derive` expression
      // reads all outcomes itself.
      const outcome = value === undefined || fills ? value : labelText(label, value)
      const isKnown = outcome !== undefined && row !== undefined
      if (isKnown) {
        facts.rows++
        facts.versions[version]!.rows++
      } else if (value !== undefined && row === undefined) facts.removed++
      else if (value !== undefined) facts.unreadable++
      for (const [name, isNumber] of features) {
        const cell = isKnown ? row[name] : null
        if (isNumber) number(into, typeof cell === 'number' ? cell : null)
        else text(into, typeof cell === 'string' ? cell : null)
      }
      const answered = outputs.slice(place * width, (place + 1) * width)
      into.appendVarchar(`${id.slice(0, -4)}${place.toString(16).padStart(4, '0')}`)
      into.appendDouble(atMs)
      number(into, isKnown ? (served.knownAt === 'observed' ? observedMs : arrivedMs) : null)
      text(into, isKnown ? outcome : null)
      text(into, isText ? decisionNames(by.output)[decisionOf(by.output, answered)!] : null)
      number(into, isText ? null : answered[middle])
      text(into, names.length > 0 ? numbersText(names, answered) : null)
      into.appendVarchar(version)
      into.appendVarchar(request.arm)
      if (withRoutingKey) text(into, request.routingKey)
      into.endRow()
    }
  }
}

const numbersText = (names: readonly string[], answered: readonly number[]): string =>
  JSON.stringify(Object.fromEntries(names.map((name, at) => [name, answered[at]])))

/**
 * Makes the table `served` from `asked`. The weight of a row is 1 / (share of the requests with the same answer that have an outcome):
 * inverse probability weighting (Horvitz and Thompson 1952). When an answer decides whether its outcome becomes known, the rows with
 * outcomes are a biased sample of the requests.
 */
async function weigh(duck: Duck, output: Output, fills: boolean): Promise<void> {
  const bin = isOfNumbers(output)
    ? `ntile(${bins}) over (partition by ${versionColumn} order by _score, ${predictionId})`
    : `coalesce(_class, cast(least(floor(_score * ${bins}), ${bins - 1}) as varchar))`
  const alike = `over (partition by ${versionColumn}, _bin)`
  const answerSql =
    taskOf(output).labelKind === 'text'
      ? '_class'
      : numbersOf(output).length > 0
        ? 'coalesce(_numbers, cast(_score as varchar))'
        : '_score'
  const labels = fills ? [] : numbersOf(output).map(labelOf)
  await duck.run(`create temp table ${servedTable} as
    select * exclude (_asked_ms, _known_ms, _class, _score, _numbers, _bin), ${labels.join('')}
      epoch_ms(cast(_asked_ms as bigint)) as ${askedAt}, epoch_ms(cast(_known_ms as bigint)) as ${knownAt},
      ${answerSql} as ${answer},
      least(${maxWeight}, count(*) ${alike} / greatest(1, count(_known_ms) ${alike})) as ${weight}
    from (select *, ${bin} as _bin from asked)`)
  await duck.run('drop table asked')
}

/** The column of one of several numbers, of the outcome of a row. */
function labelOf(name: string): string {
  const pointer = `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
  return `cast(${outcome} ->> ${textLiteral(pointer)} as double) as ${quotedIdentifier(name)}, `
}

function tooFew(
  definition: ModelDefinition,
  facts: ServedFacts,
  versions: readonly AnsweringVersion[],
  asOf: string,
): DomainError {
  const { name: model, source } = definition
  const { rows, young, predictions, unreadable, removed, since, maturedMs, isLearnt } = facts
  const reasons: string[] = []
  const add = (count: number, reason: string) => {
    if (count > 0) reasons.push(`${count} ${reason}`)
  }
  const excluded = Object.entries(facts.versions).filter(([, each]) => isExcluded(each, definition))
  const lacking = excluded.reduce((sum, [, each]) => sum + each.predictions, 0)
  add(young, `younger than ${ageText(maturedMs)}${isLearnt ? ', by when 95 % of outcomes have arrived' : ''}`)
  add(predictions - lacking - rows - unreadable - removed, 'without an outcome yet')
  add(unreadable, 'with an outcome that is not a value of the label')
  add(removed, 'without inputs in the log, from which they were removed')
  for (const [version, { predictions: asked, lacks = [], digested }] of excluded)
    add(
      asked,
      digested === undefined
        ? `answered by ${version} without ${lacks.map((name) => `"${name}"`).join(', ')} (write missing: 'fill', or fill it in with derive)`
        : `answered by ${version}, for which ${digestReason(digested)}`,
    )
  const [first] = versions
  const all = predictions + young
  const where = since === undefined ? '' : ` since ${since}`
  const begins = first === undefined ? '' : `; the first in the log is of ${first.firstAt}`
  const listed =
    all === 0
      ? `: the log has no predictions of ${model}${where}; train the first version from files or a table, or bring one`
      : `: of ${counted(all, 'prediction')}${where}, ${reasons.join(', ')}${begins}`
  return new DomainError(
    'too_few_outcomes',
    `${counted(rows, 'prediction')} of ${model} with a known outcome as of ${asOf}, at least ${source.served!.minRows} required${listed}`,
    { model, asOf },
  )
}
