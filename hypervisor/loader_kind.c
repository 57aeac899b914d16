/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* loader_kind.c: names what a file is that is no kernel, so that a mistake is told from a program. */
#include "hypervisor/loader.h"

#include <elf.h>
#include <string.h>

#define MAGIC(text) text, sizeof(text) - 1

/* In this order: a kernel for a PC also has the mark of a boot sector. */
static const struct magic {
    size_t at;
    const char *bytes;
    size_t len;
    struct loader_kind kind;
} magics[] = {
    {0, MAGIC("QFI\xfb"), {"a qcow2 disk", LOADER_DISK_FILE}},
    {0, MAGIC("KDMV"), {"a VMDK disk", LOADER_DISK_FILE}},
    {0, MAGIC("COWD"), {"a VMDK disk", LOADER_DISK_FILE}},
    {0, MAGIC("# Disk DescriptorFile"), {"a VMDK disk's description", LOADER_DISK_FILE}},
    {64, MAGIC("\x7f\x10\xda\xbe"), {"a VDI disk", LOADER_DISK_FILE}},
    {0, MAGIC("vhdxfile"), {"a VHDX disk", LOADER_DISK_FILE}},
    {0, MAGIC("conectix"), {"a VHD disk", LOADER_DISK_FILE}},
    {0, MAGIC("QED\0"), {"a QED disk", LOADER_DISK_FILE}},
    {0, MAGIC("WithoutFreeSpace"), {"a Parallels disk", LOADER_DISK_FILE}},
    {0, MAGIC("WithouFreSpacExt"), {"a Parallels disk", LOADER_DISK_FILE}},
    {0, MAGIC("Bochs Virtual HD Image"), {"a Bochs disk", LOADER_DISK_FILE}},
    {0x202, MAGIC("HdrS"), {"a Linux kernel for x86", LOADER_NO_USE}},
    {36, MAGIC("\x18\x28\x6f\x01"), {"a Linux kernel for 32-bit Arm", LOADER_NO_USE}},
    {0, MAGIC("\xd0\x0d\xfe\xed"), {"a device tree", LOADER_DTB}},
    {0, MAGIC("\x27\x05\x19\x56"), {"a U-Boot image (uImage)", LOADER_NO_USE}},
    {0, MAGIC("ANDROID!"), {"an Android boot image", LOADER_NO_USE}},
    {0, MAGIC("070701"), {"a cpio archive", LOADER_INITRD}},
    {0, MAGIC("070702"), {"a cpio archive", LOADER_INITRD}},
    {0, MAGIC("070707"), {"a cpio archive", LOADER_INITRD}},
    {257, MAGIC("ustar"), {"a tar archive", LOADER_NO_USE}},
    {0, MAGIC("PK\3\4"), {"a zip archive", LOADER_NO_USE}},
    {0, MAGIC("7z\xbc\xaf\x27\x1c"), {"a 7z archive", LOADER_NO_USE}},
    {0, MAGIC("\x89LZO\0\r\n\x1a\n"), {"a file packed with lzop, which is not supported", LOADER_NO_USE}},
    {0, MAGIC("\x1f\x9d"), {"a file packed with compress, which is not supported", LOADER_NO_USE}},
    {0, MAGIC("LRZI"), {"a file packed with lrzip, which is not supported", LOADER_NO_USE}},
    {0, MAGIC("!<arch>\n"), {"an archive (ar, or a Debian package)", LOADER_NO_USE}},
    {0, MAGIC("\xed\xab\xee\xdb"), {"an RPM package", LOADER_NO_USE}},
    {0, MAGIC("#!"), {"a script", LOADER_NO_USE}},
    {0, MAGIC("%PDF"), {"a PDF document", LOADER_NO_USE}},
    {0, MAGIC("\x89PNG"), {"a PNG picture", LOADER_NO_USE}},
    {0, MAGIC("LUKS\xba\xbe"), {"a LUKS volume", LOADER_DISK}},
    {0, MAGIC("hsqs"), {"a squashfs file system", LOADER_DISK}},
    {0, MAGIC("XFSB"), {"an XFS file system", LOADER_DISK}},
    {1024 + 56, MAGIC("\x53\xef"), {"an ext2, ext3 or ext4 file system", LOADER_DISK}},
    {1024, MAGIC("\xe2\xe1\xf5\xe0"), {"an EROFS file system", LOADER_DISK}},
    {1024, MAGIC("\x10\x20\xf5\xf2"), {"an F2FS file system", LOADER_DISK}},
    {4096 - 10, MAGIC("SWAPSPACE2"), {"swap space", LOADER_DISK}},
    {512 + 24, MAGIC("LVM2 001"), {"an LVM volume", LOADER_DISK}},
    {32769, MAGIC("CD001"), {"an ISO 9660 image", LOADER_DISK}},
    {0x10040, MAGIC("_BHRfS_M"), {"a Btrfs file system", LOADER_DISK}},
    {512, MAGIC("EFI PART"), {"a disk with partitions (GPT)", LOADER_DISK}},
    {4096, MAGIC("EFI PART"), {"a disk with partitions (GPT)", LOADER_DISK}},
    {54, MAGIC("FAT1"), {"a FAT file system", LOADER_DISK}},
    {82, MAGIC("FAT32"), {"a FAT file system", LOADER_DISK}},
};

static const struct loader_kind boot_sector = {"a disk with a boot sector", LOADER_DISK},
                                efi = {"an EFI program, not a kernel's Image", LOADER_NO_USE},
                                text = {"text", LOADER_NO_USE}, zeros = {"nothing but zeros", LOADER_NO_USE};

static bool has(const uint8_t *file, size_t len, size_t at, const char *bytes, size_t count) {
    return len >= count && at <= len - count && !memcmp(file + at, bytes, count);
}

/* A PE file; an Image and a zboot image are such, too, and were looked for before. */
static bool is_efi(const uint8_t *file, size_t len) {
    uint32_t at;
    if (len < 64 || file[0] != 'M' || file[1] != 'Z')
        return false;
    memcpy(&at, file + 60, sizeof(at));
    return has(file, len, at, MAGIC("PE\0\0"));
}

static bool is_text(const uint8_t *file, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((file[i] < ' ' && !strchr("\t\n\v\f\r\x1b", file[i])) || !file[i] || file[i] == 0x7f)
            return false;
    return true;
}

static bool is_zeros(const uint8_t *file, size_t len) { return !file[0] && !memcmp(file, file + 1, len - 1); }

const struct loader_kind *loader_kind(const uint8_t *file, size_t len) {
    if (!len)
        return NULL;
    for (const struct magic *m = magics; m < magics + ARRAY_LEN(magics); m++)
        if (has(file, len, m->at, m->bytes, m->len))
            return &m->kind;
    size_t head = len < LOADER_HEAD ? len : LOADER_HEAD;
    if (is_efi(file, len))
        return &efi;
    if (has(file, len, 510, MAGIC("\x55\xaa")))
        return &boot_sector;
    if (is_zeros(file, head))
        return &zeros;
    return is_text(file, head) ? &text : NULL;
}

const char *loader_machine(unsigned machine) {
    static const struct {
        unsigned machine;
        const char *name;
    } known[] = {{EM_386, "x86"},      {EM_X86_64, "x86-64"},      {EM_ARM, "32-bit Arm"}, {EM_AARCH64, "AArch64"},
                 {EM_RISCV, "RISC-V"}, {EM_PPC64, "64-bit POWER"}, {EM_PPC, "PowerPC"},    {EM_S390, "s390"},
                 {EM_MIPS, "MIPS"},    {EM_SPARCV9, "SPARC"},      {258, "LoongArch"}};
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].machine == machine)
            return known[i].name;
    return NULL;
}

/* xz's predecessor has no magic number: the usual properties, a dictionary of a power of two, a size or none. */
static bool is_lzma(const uint8_t *file, size_t len) {
    static const uint8_t unknown[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint32_t dictionary;
    if (len < 13 || file[0] != 0x5d)
        return false;
    memcpy(&dictionary, file + 1, sizeof(dictionary));
    return dictionary >= 4096 && !(dictionary & (dictionary - 1)) &&
           (!memcmp(file + 5, unknown, 8) || (!file[10] && !file[11] && !file[12]));
}

const char *loader_packing(const uint8_t *file, size_t len) {
    if (has(file, len, 0, MAGIC("\x1f\x8b")))
        return "gzip";
    if (has(file, len, 0, MAGIC("\x28\xb5\x2f\xfd")))
        return "zstd";
    if (len >= 4 && (file[0] & 0xf0) == 0x50 && has(file, len, 1, MAGIC("\x2a\x4d\x18")))
        return "zstd"; /* a frame to be skipped: parallel packers write such */
    if (has(file, len, 0,
            MAGIC("\xfd"
                  "7zXZ")))
        return "xz";
    if (len >= 10 && has(file, len, 0, MAGIC("BZh")) && has(file, len, 4, MAGIC("1AY&SY")))
        return "bzip2";
    if (has(file, len, 0, MAGIC("\x04\x22\x4d\x18")) || has(file, len, 0, MAGIC("\x02\x21\x4c\x18")))
        return "lz4";
    return is_lzma(file, len) ? "lzma" : NULL;
}
