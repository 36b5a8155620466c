/** Defines the bundle of a version, with which one installation hands a version to another. */
import type { GateReport } from '../evaluation/gate.ts'
import type { BundleOrigin, BundleRelease } from '../model/bundle-origin.ts'
import type { Features } from '../model/features.ts'
import { formOf, type VersionLineage } from './version.ts'
import type { Output } from '../tasks/output.ts'

export const bundleFormat = 'tenure-bundle@1'

export interface BundleDocument {
  format: typeof bundleFormat
  /** ISO 8601, as all times here. */
  exportedAt: string
  /** The PEM of the key that signs. */
  publicKey: string
  version: string
  model: string
  /** The digest of the manifest. */
  artifactDigest: string
  createdAt: string
  createdBy: string
  knownGoodAt?: string
  lineage: VersionLineage
  evaluation: { id: string; verdict: string; digest: string; baseline?: string; report: GateReport }
  releases: BundleRelease[]
  /** All other entries of the bundle, by name. */
  entries: Record<string, { bytes: number; sha256: string }>
}

export const bundleOriginOf = (
  document: BundleDocument,
  { name: signer, fingerprint: key }: { name: string; fingerprint: string },
): BundleOrigin => {
  const { version, exportedAt, artifactDigest, lineage, evaluation, releases } = document
  const { snapshot, asOf, code, requestedBy, metrics } = lineage
  const { verdict, digest, baseline } = evaluation
  const of = { verdict, digest, ...(baseline !== undefined && { baseline }), metrics }
  return {
    version,
    signer,
    key,
    exportedAt,
    artifactDigest,
    snapshot,
    asOf,
    code,
    requestedBy,
    evaluation: of,
    releases,
  }
}

interface Form {
  features: Features
  output: Output
}

/** Why a model cannot import an artifact of another installation unchanged; undefined when it can. */
export function issueOfForm(bundle: Form, model: Form, what = 'the bundle'): string | undefined {
  const names = new Set([...Object.keys(bundle.features), ...Object.keys(model.features)])
  for (const name of names) {
    const [there, here] = [bundle.features[name], model.features[name]]
    if (here === undefined) return `the model file has no feature ${name}, which ${what} takes`
    if (there === undefined) return `${what} takes no feature ${name}, which the model file has`
    const differing = (['kind', 'values', 'missing', 'sql', 'use'] as const).find(
      (field) => JSON.stringify(fieldOf(there, field)) !== JSON.stringify(fieldOf(here, field)),
    )
    if (differing !== undefined)
      return `the feature ${name} has the ${differing} ${JSON.stringify(fieldOf(there, differing))} in ${what} and ${JSON.stringify(fieldOf(here, differing))} in the model file`
  }
  return formOf(bundle.output) === formOf(model.output)
    ? undefined
    : `${what} answers ${formOf(bundle.output)}, the model file ${formOf(model.output)}`
}

const fieldOf = (feature: object, field: string): unknown => (feature as Record<string, unknown>)[field]
