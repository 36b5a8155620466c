/**
 * Runs the container of a pod as a process of this machine: with its arguments, variables, volumes and user, no capabilities, and a private
 * read-only root. The contents of the image are mounted from the checkout.
 */
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { chown } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { ProcessSpec } from '@tenure/embedded'
import { cacheDir, checkout } from '../../../temporal.config.ts'
import type { Kube } from '../../../test/support/deploy/cluster.ts'
import type { MemoryLimit } from './memory-limit.ts'
import type { ContainerVariable, Pod, PodVolume } from '../../../test/support/deploy/kube-objects.ts'

export interface NodePlaces {
  /** A directory for roots and volumes. */
  home: string
  buildId: string
}

/** The user and group of the image. */
export const imageUser = 65_532

/** Variables that the Dockerfile sets, and a home. */
const imageVariables = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  NODE_ENV: 'production',
  TENURE_CACHE: '/opt/tenure-cache',
  HOME: '/tmp',
}

/**
 * Arguments: the file of a cgroup to join, the root, the Node binary, the checkout, the cache, the number of volumes, each as `source
 * target rw|ro`, and the command. The mount namespace ends with the process.
 */
const script = `
set -eu
[ -z "$1" ] || echo $$ > "$1"
shift
root=$1 node=$2 checkout=$3 cache=$4 volumes=$5
shift 5
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$root"
mkdir -p "$root/usr/local/bin" "$root/opt/tenure" "$root/opt/tenure-cache" "$root/dev" "$root/proc" "$root/etc"
for folder in bin lib lib64; do
  [ ! -d "/usr/$folder" ] || { mkdir -p "$root/usr/$folder"; mount --rbind "/usr/$folder" "$root/usr/$folder"; ln -s "usr/$folder" "$root/$folder"; }
done
touch "$root/usr/local/bin/node"
mount --bind "$node" "$root/usr/local/bin/node"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount --bind "$checkout" "$root/opt/tenure"
mount -o remount,ro,bind "$root/opt/tenure"
# The image holds no servers.
mount -t tmpfs -o ro none "$root/opt/tenure/node_modules/.tenure"
mount --bind "$cache" "$root/opt/tenure-cache"
mount -o remount,ro,bind "$root/opt/tenure-cache"
while [ "$volumes" -gt 0 ]; do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  [ "$3" = rw ] || mount -o remount,ro,bind "$root$2"
  volumes=$((volumes - 1))
  shift 3
done
mount -o remount,ro "$root"
exec /usr/sbin/chroot "$root" /usr/bin/env --chdir=/opt/tenure /usr/bin/setpriv --reuid=${imageUser} --regid=${imageUser} --clear-groups \\
  --no-new-privs --bounding-set=-all --inh-caps=-all /usr/local/bin/node "$@"
`

/** Starts the process of a pod's only container. */
export async function containerOf(
  kube: Kube,
  pod: Pod,
  address: string,
  { home, buildId, memory }: NodePlaces & { memory: MemoryLimit | undefined },
): Promise<ProcessSpec> {
  const { name, namespace = '' } = pod.metadata
  const [container] = pod.spec.containers
  const place = mkdtempSync(join(home, `${name}-`))
  mkdirSync(join(place, 'root'))
  const sources = new Map<string, string>()
  for (const volume of pod.spec.volumes)
    sources.set(volume.name, await volumeOf(kube, namespace, volume, { home, place }))
  const mounts = container.volumeMounts.flatMap((each) => [
    sources.get(each.name)!,
    each.mountPath,
    each.readOnly === true ? 'ro' : 'rw',
  ])
  const env: Record<string, string> = { ...imageVariables, TENURE_BUILD_ID: buildId }
  for (const each of container.env)
    env[each.name] = each.value ?? (await valueOf(kube, namespace, each, address))
  return {
    name,
    command: 'unshare',
    args: [
      '--mount',
      'sh',
      '-c',
      script,
      'container',
      memory?.processes ?? '',
      join(place, 'root'),
      process.execPath,
      checkout,
      cacheDir(),
      String(mounts.length / 3),
      ...mounts,
      ...container.args,
    ],
    env,
    graceMs: (pod.spec.terminationGracePeriodSeconds ?? 30) * 1_000,
  }
}

async function valueOf(
  kube: Kube,
  namespace: string,
  { name, valueFrom }: ContainerVariable,
  address: string,
): Promise<string> {
  if (valueFrom?.fieldRef?.fieldPath === 'status.podIP') return address
  const { secretKeyRef } = valueFrom ?? {}
  if (secretKeyRef === undefined)
    throw new Error(`the value of ${name} is of a kind that this node does not know`)
  const text = (await secretOf(kube, namespace, secretKeyRef.name))[secretKeyRef.key]
  if (text === undefined) throw new Error(`the Secret ${secretKeyRef.name} has no ${secretKeyRef.key}`)
  return Buffer.from(text, 'base64').toString()
}

const secretOf = async (kube: Kube, namespace: string, name: string): Promise<Record<string, string>> =>
  (await kube.call('GET', `/api/v1/namespaces/${namespace}/secrets/${name}`)).data ?? {}

/** Returns the directory of a volume. Files of Secrets belong to the group of the pod, as the kubelet sets it for `fsGroup`. */
async function volumeOf(
  kube: Kube,
  namespace: string,
  volume: PodVolume,
  { home, place }: { home: string; place: string },
): Promise<string> {
  const { persistentVolumeClaim: claim } = volume
  const directory = claim ? join(home, 'claims', claim.claimName) : join(place, volume.name)
  if (!existsSync(directory)) {
    mkdirSync(directory, { recursive: true })
    await chown(directory, imageUser, imageUser)
  }
  const { secret, projected } = volume
  const sources = secret
    ? [{ name: secret.secretName, items: secret.items }]
    : (projected?.sources ?? []).map((each) => each.secret)
  const mode = secret?.defaultMode ?? projected?.defaultMode
  for (const { name, items } of sources) {
    const data = await secretOf(kube, namespace, name)
    for (const { key, path } of items ?? Object.keys(data).map((each) => ({ key: each, path: each }))) {
      if (data[key] === undefined) throw new Error(`the Secret ${name} has no ${key}`)
      const file = join(directory, path)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, Buffer.from(data[key], 'base64'), { mode })
      await chown(file, 0, imageUser)
    }
  }
  return directory
}
