/** Opens the gateway that a model file names. */
import type { Gateway, Traffic } from '../../domain/serving/gateway.ts'
import { createEndpointClient } from '../endpoint-client.ts'
import { openHaproxy } from './haproxy.ts'
import { openHttpRoute, openKserve, type KubernetesAccess } from './kubernetes.ts'
import { openSagemaker } from './sagemaker.ts'

/** What an adapter needs of this machine. `privateHosts`: those that gateways of model files may name. */
export type GatewayAccess = KubernetesAccess

export function openGateway(traffic: Traffic, access: GatewayAccess): Gateway {
  switch (traffic.gateway) {
    case 'haproxy':
      return openHaproxy(traffic, access.privateHosts)
    case 'sagemaker':
      return openSagemaker(traffic, createEndpointClient(access).ask, access.now)
    case 'http_route':
      return openHttpRoute(traffic, access)
    case 'kserve':
      return openKserve(traffic, access)
    default:
      return traffic satisfies never
  }
}
