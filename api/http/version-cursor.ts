/** Encodes the cursor of a version search. Its key depends on the order, so a cursor of another order is rejected. */
import { z } from 'zod'
import type { VersionOrder } from '../../domain/registry/version-query.ts'
import type { VersionKey } from '../../store/registry/versions.ts'
import { decodeCursor, encodeCursor, timeKey } from './page-cursor.ts'

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
