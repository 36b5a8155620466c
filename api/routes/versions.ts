/** `/v1/versions`: the registry, searched by name, metric, date, status and data; one version; two of them compared. */
import { z } from 'zod'
import { compareVersions, type ComparedVersion } from '../../domain/compare.ts'
import { DomainError } from '../../domain/errors.ts'
import {
  parseConditions,
  parseDigest,
  parseOrder,
  versionStatuses,
  type VersionOrder,
  type VersionStatus,
} from '../../domain/search.ts'
import { findChampion } from '../../store/champions.ts'
import type { Database } from '../../store/postgres.ts'
import { findTrainingRun } from '../../store/search-trainings.ts'
import { findStatus, findVersions, type VersionKey } from '../../store/search.ts'
import { findLatestVersion, getVersion, type Version } from '../../store/versions.ts'
import { cursorText, decodeCursor, encodeCursor } from '../cursor.ts'
import { route, viewers, type Route } from '../declare.ts'
import type { ApiDeps } from '../deps.ts'
import { expectInScope } from '../scope.ts'
import { expectInOrder, limit, modelName, parsedBy, searchedMoment, toWire } from '../wire.ts'

const statusNames = Object.keys(versionStatuses) as VersionStatus[]

const versionText = z.string().min(1).max(200)

export const versionRoutes = ({ store }: ApiDeps): Route[] => [
  route({
    method: 'get',
    path: '/v1/versions',
    allow: viewers,
    summary:
      'Searches the registered versions. `metric` is one or more conditions such as auc>0.8,brier<0.2, which all hold; `since` (from then on) and `until` (before then) are times or days; `data` is how the digest of the snapshot begins; `text` is looked for in the name, who asked, why, and the hyperparameters; `order` is version, newest, oldest, or a metric: the best first, the worst first with - before it. Versions of drills are found only by status=drill.',
    answers: { 200: 'The versions, without their manifests, and next_cursor when there are more' },
    query: z.strictObject({
      model: modelName.optional(),
      status: z.enum(statusNames, { error: `is one of ${statusNames.join(', ')}` }).optional(),
      metric: parsedBy(parseConditions).optional(),
      since: searchedMoment.optional(),
      until: searchedMoment.optional(),
      data: parsedBy(parseDigest).optional(),
      text: z.string().min(1).max(200).optional(),
      order: parsedBy(parseOrder).optional(),
      cursor: cursorText.optional(),
      limit,
    }),
    async handle({ actor, query }) {
      const { model, status, metric, since, until, data, text, order = 'version', cursor } = query
      expectInOrder(since, until)
      const { versions, next } = await findVersions(store, {
        limit: query.limit,
        order,
        ...(actor?.models === undefined ? {} : { models: [...actor.models] }),
        ...(model === undefined ? {} : { model }),
        ...(status === undefined ? {} : { status }),
        ...(metric === undefined ? {} : { conditions: metric }),
        ...(since === undefined ? {} : { since }),
        ...(until === undefined ? {} : { until }),
        ...(data === undefined ? {} : { data }),
        ...(text === undefined ? {} : { text }),
        ...(cursor === undefined ? {} : { after: keyOfCursor(cursor, order) }),
      })
      return {
        json: {
          versions: versions.map((each) => ({ ...toWire(each), metrics: each.lineage.metrics ?? {} })),
          ...(next === undefined ? {} : { next_cursor: cursorOfKey(next, order) }),
        },
      }
    },
  }),
  route({
    method: 'get',
    path: '/v1/versions/compare',
    allow: viewers,
    summary:
      'Compares two versions: metrics, hyperparameters, data, features, code, training and sizes, what differs first. Each is named as model_v1.2.0, model@v1.2.0, model@champion or model@latest.',
    answers: { 200: 'The fields that differ, with other − one for numbers; those that do not; and notes' },
    query: z.strictObject({ one: versionText, other: versionText }),
    async handle({ actor, query }) {
      const [one, other] = await Promise.all(
        [query.one, query.other].map(async (name) => {
          const version = await resolveVersion(store, name)
          expectInScope(actor, version.model)
          return comparedOf(store, version)
        }),
      )
      return { json: compareVersions(one!, other!) }
    },
  }),
  route({
    method: 'get',
    path: '/v1/versions/:version',
    allow: viewers,
    summary: 'Shows a version with its manifest, its lineage and what it is now.',
    answers: { 200: 'The version' },
    async handle({ actor, params }) {
      const version = await getVersion(store, params['version']!)
      expectInScope(actor, version.model)
      const { signature, ...shown } = version
      const status = await findStatus(store, version.version)
      return {
        json: {
          ...toWire(shown),
          status,
          ...(signature === undefined ? {} : { signature: signature.toString('base64') }),
        },
      }
    },
  }),
]

const timeKey = z.tuple([
  z.string().regex(/^\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-][\d:]+$/),
  z.string(),
])
const metricKey = z.tuple([z.number(), z.string()])
const whole = z.number().int().min(0).max(2_147_483_647)
const numberKey = z.tuple([z.string(), whole, whole, whole])

const nameOfOrder = (order: VersionOrder): string =>
  typeof order === 'object' ? `${order.metric} ${order.direction}` : order

export function keyOfCursor(cursor: string, order: VersionOrder): VersionKey {
  const name = nameOfOrder(order)
  if (order === 'version') {
    const [model, major, minor, patch] = decodeCursor(cursor, name, numberKey)
    return { order, model, major, minor, patch }
  }
  if (typeof order === 'object') {
    const [value, version] = decodeCursor(cursor, name, metricKey)
    return { order: 'metric', value, version }
  }
  const [at, version] = decodeCursor(cursor, name, timeKey)
  return { order: 'time', at, version }
}

export function cursorOfKey(key: VersionKey, order: VersionOrder): string {
  const name = nameOfOrder(order)
  switch (key.order) {
    case 'version':
      return encodeCursor(name, [key.model, key.major, key.minor, key.patch])
    case 'time':
      return encodeCursor(name, [key.at, key.version])
    case 'metric':
      return encodeCursor(name, [key.value, key.version])
    default:
      return key satisfies never
  }
}

/** Throws `invalid_request` for a text that names no version in any of its forms, `version_not_found` for one that is not there. */
export async function resolveVersion(store: Database, name: string): Promise<Version> {
  const [, model = '', which = ''] = /^(.+)@(champion|latest|v?\d+\.\d+\.\d+)$/.exec(name) ?? []
  if (which === '') {
    if (name.includes('@') || !/_v\d+\.\d+\.\d+$/.test(name))
      throw new DomainError(
        'invalid_request',
        `${JSON.stringify(name)} names no version; name it as model_v1.2.0, model@v1.2.0, model@champion or model@latest`,
      )
    return getVersion(store, name)
  }
  if (which === 'champion') {
    const champion = await findChampion(store, model)
    if (champion === undefined)
      throw new DomainError('version_not_found', `${JSON.stringify(model)} has no champion`)
    return getVersion(store, champion.version)
  }
  if (which === 'latest') {
    const latest = await findLatestVersion(store, model)
    if (latest === undefined)
      throw new DomainError('version_not_found', `${JSON.stringify(model)} has no version`)
    return latest
  }
  return getVersion(store, `${model}_v${which.replace(/^v/, '')}`)
}

export async function comparedOf(store: Database, version: Version): Promise<ComparedVersion> {
  const [training, status] = await Promise.all([
    findTrainingRun(store, version.trainingId),
    findStatus(store, version.version),
  ])
  const { model, createdAt, createdBy, lineage, manifest } = version
  return {
    version: version.version,
    model,
    status: status ?? 'registered',
    createdAt,
    createdBy,
    lineage,
    manifest,
    training: {
      epochs: training?.epoch ?? 0,
      dependencies: training?.dependencies ?? {},
      ...(training?.loss === undefined ? {} : { loss: training.loss }),
      ...(training?.durationMs === undefined ? {} : { durationMs: training.durationMs }),
      ...(training?.buildId === undefined ? {} : { buildId: training.buildId }),
    },
  }
}
