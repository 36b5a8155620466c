/** Defines what an imported version keeps of its bundle. Approvals at the source are information for readers and approve nothing here. */
export interface BundleRelease {
  id: string
  requestedBy: string
  startedAt: string
  outcome?: string
  approvals: BundleStatement[]
  breakGlass?: BundleStatement
}

export interface BundleStatement {
  by: string
  at: string
  reason?: string
}

/** What an imported version keeps of its bundle, in its manifest. */
export interface BundleOrigin {
  version: string
  /** The name of the trusted key, and its fingerprint. */
  signer: string
  key: string
  exportedAt: string
  artifactDigest: string
  snapshot: string
  asOf: string
  code: string
  requestedBy: string
  /** Without a baseline it was the first version there. */
  evaluation: { verdict: string; digest: string; baseline?: string; metrics: Record<string, number | null> }
  releases: BundleRelease[]
}

/** The maximum length of a kept text, and the maximum number of statements kept per release. */
const maxText = 500
const maxList = 20

/** Why a value is not an origin; undefined when it is. The value comes from the request of a workflow. */
export function issueOfBundleOrigin(given: unknown): string | undefined {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    return 'must be an object as "bundle"'
  const origin = given as Partial<BundleOrigin>
  for (const name of [
    'version',
    'signer',
    'key',
    'exportedAt',
    'artifactDigest',
    'snapshot',
    'code',
  ] as const)
    if (typeof origin[name] !== 'string' || origin[name].length > maxText)
      return `must have the "${name}" of its bundle`
  if (!Array.isArray(origin.releases) || origin.releases.length > maxList)
    return 'must have the "releases" of its bundle'
  return undefined
}

/** One sentence for the lineage. */
export const bundleText = ({ version, signer, releases }: BundleOrigin): string => {
  const approvers = releases.flatMap(({ approvals }) => approvals.map(({ by }) => by))
  const approval =
    approvers.length === 0 ? 'not approved there' : `approved there by ${[...new Set(approvers)].join(', ')}`
  return `bundle of ${version}, signed by ${signer}; ${approval}`.slice(0, maxText)
}
