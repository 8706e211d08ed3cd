// What names are made of, where more is asked of them than a number of bytes. The server refuses others, and so do
// contracts and clients before them.

/** The name of a topic (SPEC [TO1]). One that begins with `room:` is that of a topic of a room (SPEC [TO4]). */
export const TOPIC_NAME = /^(?!room:(?!.+:[^:]+$))[A-Za-z0-9_\-.:/]{1,256}$/

/** The name of a room (SPEC [RO1]). */
export const ROOM_NAME = /^[A-Za-z0-9_\-.:/]{1,128}$/

/** A kind of room in a contract (SPEC [CO5]): a colon and an id after it make the name of a room. */
export const ROOM_KIND = /^[A-Za-z0-9_\-.:/]{1,126}$/

/** A topic of a kind of room (SPEC [CO5]): `room:ROOM:` before it makes the name of a topic, whatever the room. */
export const ROOM_TOPIC = /^[A-Za-z0-9_\-./]{1,122}$/

/** A map of a contract: those of counters are no others (SPEC [KD2]). */
export const MAP_NAME = /^(?!counter:)/
