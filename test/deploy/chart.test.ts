/** Tests the Helm chart: by itself, and, where Helm is in the cache, what it renders. `npm run bench -- chart` installs it on a real API server. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { metricTable } from '../../api/metrics/metric-catalogue.ts'
import { isWorkload, type KubeObject } from '../support/deploy/kube-objects.ts'
import { findHelm } from '../support/deploy/kube-programs.ts'
import { variables } from '../support/docs/variables.ts'
import { secretNames } from '../../store/secret-files.ts'
import {
  keyPurposes,
  parseKey,
  parseTrusted,
  publicPemOf,
  purposesOf,
} from '../../store/signing/key-files.ts'
import { checkout, readVersion } from '../../temporal.config.ts'

const chart = join(checkout, 'deploy', 'helm', 'tenure')
const read = (path: string): string => readFileSync(join(chart, path), 'utf8')

interface Schema {
  $defs: { settings: { propertyNames: { anyOf: [{ enum: string[] }, object] } } }
  properties: { secrets: { propertyNames: { enum: string[] } } }
}
const schema = JSON.parse(read('values.schema.json')) as Schema
const groups = Object.entries(variables)
const documented = new Set(groups.flatMap(([, group]) => Object.keys(group)))

/** Credentials of S3, read for every request, and of a collector, which no file provides. */
const moreSecrets = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'OTEL_EXPORTER_OTLP_HEADERS',
]
/** Variables that the templates set. */
const ownSettings = [
  'TENURE_STATE',
  'TENURE_ARTIFACTS',
  'TENURE_BATCHES',
  'TENURE_KEYS',
  'TENURE_TRUST',
  'TENURE_SUBJECT_KEY',
  'TENURE_HOST',
  'TENURE_PORT',
  'TENURE_ALLOWED_HOSTS',
  'TENURE_GRPC_PORT',
  'TENURE_BACKUP_TO',
  'TENURE_BACKUP_HOURS',
  'TENURE_BACKUP_KEEP',
]
/** Variables without a file in pods, plain-text secrets, or variables that matter only on loopback. */
const unfit = ['TEMPORAL_CONFIG_FILE', 'TEMPORAL_TLS_CLIENT_KEY_DATA', 'TENURE_PUBLIC_PREDICTIONS']
/** Variables of commands and of `tenure up`. */
const otherGroups = ['The command', 'Set by `tenure up`', 'Backups']

it('the values name every setting of the processes, and every secret among the Secrets', () => {
  const secrets = [...secretNames.filter((name) => name !== 'TENURE_KEY'), ...moreSecrets]
  expect(new Set(schema.properties.secrets.propertyNames.enum)).toEqual(new Set(secrets))
  const settings = groups
    .filter(([group]) => !otherGroups.includes(group))
    .flatMap(([, group]) => Object.keys(group))
    .filter((name) => ![...secrets, ...ownSettings, ...unfit].includes(name) && !name.endsWith('_FILE'))
  const [{ enum: allowed }] = schema.$defs.settings.propertyNames.anyOf
  expect(new Set(allowed), 'of values.schema.json').toEqual(new Set(settings))
})

const templates = [
  '_pod.tpl',
  'api.yaml',
  'workers.yaml',
  'backup.yaml',
  'migration.yaml',
  'autoscaling.yaml',
].map((name) => read(`templates/${name}`))

it('the templates name variables, processes and metrics that exist', () => {
  const text = templates.join('\n')
  const named = [...text.matchAll(/name: (TENURE_\w+)(?:,|\n)/g)].map(([, name = '']) => name)
  expect(named.filter((name) => !documented.has(name))).toEqual([])
  expect(new Set(named)).toEqual(new Set(ownSettings))
  const files = [...text.matchAll(/"((?:[\w-]+\/)+[\w-]+\.(?:m?ts|mjs))"/g)].map(([, path = '']) => path)
  expect(files).toContain('api/start.mjs')
  expect(files.filter((path) => !existsSync(join(checkout, path)))).toEqual([])
  const metrics = [...text.matchAll(/"(tenure_\w+)"/g)].map(([, name = '']) => name)
  expect(metrics.filter((name) => !(name in metricTable))).toEqual([])
})

it('a pod holds the private keys of its own processes', () => {
  const [, given = ''] = /define "tenure.purposes" -}}\n([\s\S]*?){{- end/.exec(templates[0]!) ?? []
  expect(parse(given)).toEqual({ ...purposesOf, backup: ['artifacts'], migrate: [] })
})

it('the chart has the version of the package', () => {
  expect(parse(read('Chart.yaml'))).toMatchObject({ version: readVersion(), appVersion: readVersion() })
})

const manifestsIn = (text: string): KubeObject[] =>
  parseAllDocuments(text).flatMap((each) => (each.toJSON() as KubeObject | null) ?? [])

it('keys.sh prints keys that the processes open', () => {
  const secrets = manifestsIn(execFileSync(join(chart, '..', 'keys.sh'), { encoding: 'utf8' }))
  const fileOf = (name: string, file: string) => {
    const found = secrets.find(({ metadata }) => metadata.name === name)
    return Buffer.from(found?.data?.[file] ?? '', 'base64').toString()
  }
  const { keys } = parse(read('values.yaml')) as { keys: Record<string, string> }
  expect(new Set(secrets.map(({ metadata }) => metadata.name))).toEqual(new Set(Object.values(keys)))
  for (const purpose of keyPurposes) {
    const privateKey = parseKey(purpose, fileOf(keys[purpose]!, 'private.pem'))
    expect(parseTrusted(purpose, fileOf(keys['trust']!, `${purpose}.json`))).toEqual([
      { publicPem: publicPemOf(privateKey) },
    ])
  }
  expect(fileOf(keys['subjects']!, 'subjects.key')).toMatch(/^[0-9a-f]{64}\n$/)
})

const helm = findHelm()
const call = (...args: string[]) =>
  execFileSync(helm!, args, { cwd: chart, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
const render = (...args: string[]) =>
  manifestsIn(
    call('template', 'shop', '.', '--kube-version', '1.34.0', '--values', 'ci/values.yaml', ...args),
  )

describe.skipIf(helm === undefined)('rendered by Helm, which `npm run bench -- chart` builds', () => {
  it.each([['ci/values.yaml'], ['ci/all.yaml']])('%s passes the strict linter', (values) => {
    const files = ['--values', 'ci/values.yaml', '--values', values]
    expect(call('lint', '--strict', '.', ...files)).toContain('0 chart(s) failed')
  })

  it('pods are confined, know no API of Kubernetes and hold no secret in clear', () => {
    const manifests = render('--values', 'ci/all.yaml')
    const workloads = manifests.filter(isWorkload)
    expect(new Set(workloads.map(({ kind, metadata }) => `${kind} ${metadata.name}`))).toEqual(
      new Set([
        'Deployment shop-tenure-api',
        'Deployment shop-tenure-backup',
        'Deployment shop-tenure-control',
        'Deployment shop-tenure-train',
        'Job shop-tenure-migrate',
      ]),
    )
    for (const pod of workloads.map(({ spec }) => spec.template.spec)) {
      expect(pod).toMatchObject({
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
      })
      const [{ securityContext, env, volumeMounts }] = pod.containers
      expect(securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
      expect(env.filter(({ name, value }) => value !== undefined && isSecret(name))).toEqual([])
      const volumes = new Set(pod.volumes.map(({ name }) => name))
      expect(new Set(volumeMounts.map(({ name }) => name))).toEqual(volumes)
    }
  })

  it('replicas alone get the token of their account, where the values say so', () => {
    const holders = (...args: string[]) =>
      render('--values', 'ci/all.yaml', ...args)
        .filter(isWorkload)
        .filter(({ spec }) => spec.template.spec.automountServiceAccountToken !== false)
        .map(({ metadata }) => metadata.name)
    expect(holders()).toEqual([])
    expect(holders('--set', 'api.kubernetesToken=true')).toEqual(['shop-tenure-api'])
  })

  it('a secret is mounted by the pods that need it', () => {
    const manifests = render('--values', 'ci/all.yaml')
    const holders = (variable: string) =>
      new Set(
        manifests.filter(isWorkload).flatMap(({ spec }) => {
          const [{ name, env }] = spec.template.spec.containers
          return env.some((each) => each.name === variable) ? [name] : []
        }),
      )
    expect(holders('TENURE_OWNER_DATABASE_URL_FILE')).toEqual(new Set(['backup', 'migrate']))
    expect(holders('TENURE_OIDC_CLIENT_SECRET_FILE')).toEqual(new Set(['api']))
    expect(holders('TENURE_MLFLOW_TOKEN_FILE')).toEqual(new Set(['control', 'train']))
    expect(holders('DATABASE_URL_FILE')).toEqual(new Set(['api', 'backup', 'control', 'migrate', 'train']))
  })

  it('replicas with gRPC get a larger young generation', () => {
    const youngOf = (port: number) => {
      const api = render('--set', `api.grpcPort=${port}`).filter(isWorkload)
      return api.find(({ metadata }) => metadata.name === 'shop-tenure-api')!.spec.template.spec.containers[0]
        .args[0]
    }
    expect([0, 8001].map(youngOf)).toEqual(['--max-semi-space-size=2', '--max-semi-space-size=16'])
  })

  it('one pod takes the scheduled backups where a place is named, and none elsewhere', () => {
    const backups = (...args: string[]) =>
      render(...args)
        .filter(isWorkload)
        .filter(({ metadata }) => metadata.name.endsWith('-backup'))
    expect(backups()).toEqual([])
    const [found, ...others] = backups('--values', 'ci/all.yaml')
    expect([found?.spec, others]).toMatchObject([{ replicas: 1, strategy: { type: 'Recreate' } }, []])
    const [{ args, env }] = found!.spec.template.spec.containers
    expect(args).toEqual(['cli/tenure.mjs', 'backup', 'run'])
    const valueOf = (name: string) => env.find((each) => each.name === name)?.value
    expect(['TO', 'HOURS', 'KEEP'].map((name) => valueOf(`TENURE_BACKUP_${name}`))).toEqual([
      's3://backups/tenure',
      '12',
      '7',
    ])
    const claim = ['backup.to=/mnt/tenure/backups', 'artifacts.existingClaim=shared'].join(',')
    expect(backups('--set', claim)).toHaveLength(1)
  })

  it.each([
    ['hpa', 'HorizontalPodAutoscaler'],
    ['keda', 'ScaledObject'],
  ])('by %s a %s decides on the number of replicas', (by, kind) => {
    const options = [`by=${by}`, 'serverAddress=http://prometheus:9090'].map((each) => `autoscaling.${each}`)
    const manifests = render('--set', options.join(','))
    expect(manifests.map((each) => each.kind)).toContain(kind)
    const api = manifests.filter(isWorkload).find(({ metadata }) => metadata.name.endsWith('-api'))
    expect(api?.spec).not.toHaveProperty('replicas')
  })

  it.each([
    ['settings.TENURE_PROT=7400', /TENURE_PROT/],
    ['settings.TENURE_PUBLIC_PREDICTIONS=on', /TENURE_PUBLIC_PREDICTIONS/],
    ['settings.DATABASE_URL=postgres://a:b@db/tenure', /DATABASE_URL/],
    ['secrets.DATABASE_URL.value=postgres://a:b@db/tenure', /additional properties 'value' not allowed/],
    ['settings.TEMPORAL_ADDRESS=null', /TEMPORAL_ADDRESS/],
    ['settings.TENURE_OBJECT_STORE=null', /set settings\.TENURE_OBJECT_STORE, or artifacts\.existingClaim/],
    ['autoscaling.by=keda', /serverAddress/],
    ['folders.keys.secret=mine', /keys/],
    ['api.replicas=0', /replicas/],
    ['backup.to=backups', /to/],
    ['backup.everyHours=0', /everyHours/],
    ['backup.to=/mnt/tenure/backups', /artifacts\.existingClaim names none/],
  ])('refuses %s', (value, message) => {
    expect(() => render('--set', value)).toThrow(message)
  })
})

const isSecret = (name: string): boolean => schema.properties.secrets.propertyNames.enum.includes(name)
